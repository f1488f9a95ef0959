"""Sample images for a list of targets by Lightning's ``Trainer.predict``, in batches that don't show in the result.

Devices and nodes are the trainer's business: each process samples its share and writes it to the store; folders must be
shared by all.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from spnn.configs import instantiate
from spnn.diffusion.guidance import Guidance, TargetGuidance
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.errors import InputError
from spnn.sampling.models import Models
from spnn.sampling.progress import SamplingProgress
from spnn.sampling.store import Store

__all__ = ["check_counts", "check_guidance", "check_precision", "check_seed", "generate"]


def check_counts(config: DictConfig, *options: str) -> None:
    """Raise InputError if one of the options is not a whole number of at least 1."""
    for option in options:
        if not isinstance(config[option], int) or config[option] < 1:
            raise InputError(f"{option} must be a whole number of at least 1, got {config[option]!r}.")


def check_seed(seed: int) -> None:
    """Raise InputError if it is too large for a generator of random numbers."""
    if abs(seed) >= 2**62:
        raise InputError(f"seed must lie within ±2^62, got {seed}.")


def check_precision(trainer: DictConfig) -> None:
    """Raise InputError if a trainer's config would convert the operator's weights."""
    if trainer.precision not in ("32-true", "bf16-mixed", "16-mixed", 32, "32"):
        raise InputError(
            f"trainer.precision={trainer.precision} would convert the operator's weights, and guidance would miss its "
            "target: choose 32-true, bf16-mixed or 16-mixed."
        )


def check_guidance(
    models: Models, guidance: Callable[..., Guidance | None], sampler: Sampler, asked: Mapping[str, Tensor]
) -> None:
    """Raise InputError if the guidance of the first sample can't be made, or would guide no step of the sampler."""
    if "y" in asked:
        operator = models.operator.cpu()
        free = asked["free"][:1] if "free" in asked else None
        made = guidance(operator, asked["y"][:1], free=free, readout=models.readout)
        levels = sampler.levels()
        if isinstance(made, TargetGuidance) and not made.exact and not any(map(made.schedule, levels)):
            raise InputError(
                f"no step is guided: sampling goes from t = {levels[0]} down (sampler.start={sampler.start}), where "
                "guidance.schedule is 0. Start from a higher step, take more steps, or choose another "
                "guidance/schedule."
            )


def generate(
    models: Models,
    guidance: Callable[..., Guidance | None],
    sampler: Sampler,
    asked: Mapping[str, Tensor],
    store: Store,
    *,
    trainer: DictConfig,
    batch_size: int,
    frames: int = 0,
    frames_of: Literal["image", "outputs"] = "image",
    compile: bool = False,
    title: str = "sampling",
) -> bool:
    """Sample what the store lacks; return whether this is the process that should write results.

    Arguments:
        models: The prior and the operator.
        guidance: Makes the guidance for a batch of targets: ``(operator, y, free=..., readout=...)``.
        sampler: The sampler.
        asked: One row per sample: ``seed``; ``y``, its target, unless nothing is wanted; ``free``, a mask of the
            coordinates of ``y`` that are free, if some are; ``image`` to start from, if the sampler starts from one. An
            image is a function of its row alone, whatever the batch or the device.
        store: Where samples go, and what is there already.
        trainer: Config of a :class:`lightning.Trainer`.
        batch_size: Images at a time, per device.
        frames: How many steps of the trajectory to keep, evenly spread, see :meth:`Sampler.evenly_spread`.
        frames_of: What of a step: the corrected clean image, or the operator's outputs of it.
        compile: Whether to compile the prior by ``torch.compile``.
        title: Of the progress.
    """
    writer = _Writer(store)
    progress = SamplingProgress(title, len(store.missing()))
    loop = _Sampling(models, guidance, sampler, asked, store, batch_size, frames, frames_of)
    if compile:
        loop.prior.compile()
    engine: L.Trainer = instantiate(trainer, callbacks=[writer, progress])
    engine.predict(loop, return_predictions=False)
    engine.strategy.barrier()
    return engine.is_global_zero


class _Sampling(L.LightningModule):
    """Sampling as a prediction: a batch of targets to a batch of images."""

    def __init__(
        self,
        models: Models,
        guidance: Callable[..., Guidance | None],
        sampler: Sampler,
        asked: Mapping[str, Tensor],
        store: Store,
        batch_size: int,
        frames: int,
        frames_of: Literal["image", "outputs"],
    ):
        super().__init__()
        self.prior = models.prior.to(memory_format=torch.channels_last)
        self.operator, self.readout = models.operator, models.readout
        self.make_guidance, self.sampler = guidance, sampler
        self.asked, self.store, self.batch_size = asked, store, batch_size
        self.shown, self.frames_of = set(sampler.evenly_spread(frames)), frames_of
        self.on_progress: Callable[[float], None] = lambda images: None

    def setup(self, stage: str) -> None:
        self.missing = self.store.missing()
        self.trainer.strategy.barrier()  # no process writes before all have looked

    def predict_dataloader(self) -> DataLoader:
        index = torch.arange(len(self.store.names))
        dataset = Subset(TensorDataset(index, *self.asked.values()), self.missing)
        return DataLoader(dataset, batch_size=self.batch_size)

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        index, *rows = batch
        asked = dict(zip(self.asked, rows, strict=True))
        decode = getattr(self.prior, "decode", lambda x0: x0)  # of a latent prior
        shape = getattr(self.prior, "noise_shape", self.prior.image_shape)
        noise = ImageNoise(asked["seed"].tolist(), shape, self.device)
        guidance, frames = None, []
        if "y" in asked:
            guidance = self.make_guidance(self.operator, asked["y"], free=asked.get("free"), readout=self.readout)
        with torch.no_grad():
            for step in self.sampler.trajectory(self.prior, noise, guidance, asked.get("image")):
                self.on_progress(len(index) / self.sampler.num_steps)
                if step.place in self.shown:
                    frames.append(self.frame(decode(step.x0)).cpu())
            image = decode(step.x0)
        result = {"index": index.cpu(), "image": image.float().cpu()}
        return {**result, "frames": torch.stack(frames, dim=1).float()} if frames else result

    def frame(self, x0: Tensor) -> Tensor:
        """What is kept of a step."""
        if self.frames_of == "image":
            return x0
        with torch.autocast(self.device.type, enabled=False):
            return self.operator(x0.float())


class _Writer(BasePredictionWriter):
    """Hands each batch to the store as it comes."""

    def __init__(self, store: Store):
        super().__init__(write_interval="batch")
        self.store = store

    def write_on_batch_end(self, trainer: L.Trainer, pl_module: Any, prediction: dict[str, Tensor], *_: Any) -> None:
        self.store.add(prediction)
