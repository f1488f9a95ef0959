"""Sample images for a list of targets with Lightning's ``Trainer.predict``; the batch size doesn't affect the result.

The trainer takes care of devices and nodes: each process samples its share and writes it to the store, so all processes
must share the folder.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import lightning as L
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from spnn.configs import instantiate
from spnn.diffusion.denoiser import Denoised
from spnn.diffusion.guidance import Guidance, TargetGuidance, guide
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.sampler import ImageNoise, Sampler, Step
from spnn.errors import InputError, told
from spnn.sampling.models import Models, need_operator, with_operator
from spnn.sampling.progress import SamplingProgress
from spnn.sampling.store import MemoryStore
from spnn.surjection import Surjection
from spnn.threads import FollowingThreads

__all__ = ["Request", "check_common", "check_guidance", "generate", "seeds"]

log = logging.getLogger(__name__)

_SHOWN = 8  # samples whose intermediate images are kept for drawing
_FEW = 10  # guided steps; fewer than these hardly change an image
_SEEDS_APART = 1_000_000  # between the samples of a target: far enough that the seeds of different targets don't meet


@dataclass(frozen=True)
class Request:
    """N requested samples. Each depends on its own row alone, whatever the batch or the device.

    Attributes:
        guidance: Makes the guidance for a batch of targets: ``(operator, y, free=..., readout=...)``.
        names: Names of the samples' files.
        seeds: Each sample starts from its seed's noise, [N].
        y: Targets, [N, ...]; None if there are none.
        free: Which coordinates of each target may take any value, [N, K]; None for none.
        sampler: Draws the samples; in a study's request, None stands for the config's sampler.
        images: The images that sampling starts from, [N, C, H, W], if the sampler starts from images.
        frames: How many steps of the trajectory to keep, evenly spread, see :meth:`Sampler.evenly_spread`.
        operator: The operator whose outputs the targets are; None for the models' own.
    """

    guidance: Callable[..., Guidance | None]
    names: list[str]
    seeds: Tensor
    y: Tensor | None
    free: Tensor | None = None
    sampler: Sampler | None = None
    images: Tensor | None = None
    frames: int = 0
    operator: Surjection | None = None

    @property
    def drawn_by(self) -> Sampler:
        """The sampler. A study's request has one by the time it is drawn."""
        assert self.sampler is not None
        return self.sampler

    def among(self, models: Models) -> Models:
        """The models, with the request's own operator if it has one."""
        return models if self.operator is None else with_operator(models, self.operator)

    def rows(self) -> dict[str, Tensor]:
        """Everything that the samples depend on, one row per sample."""
        rows = {"seed": self.seeds, "y": self.y, "free": self.free, "image": self.images}
        return {name: tensor for name, tensor in rows.items() if tensor is not None}


def seeds(first: int, targets: int, copies: int = 1, series: int = 1) -> Tensor:
    """Seeds for ``copies`` samples of each target, [N, copies]; the seeds of the first copy don't depend on how many
    there are. ``series`` targets in a row share the same seeds."""
    return first + torch.arange(targets)[:, None] // series + _SEEDS_APART * torch.arange(copies)


def check_common(config: DictConfig, *counts: str) -> None:
    """Raise InputError if the trainer's precision, the seed or a count has an impossible value.

    Arguments:
        config: A command's config.
        counts: Names of further options that must be whole numbers of at least 1.
    """
    if str(config.trainer.precision) not in ("32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16"):
        raise InputError(
            f"trainer.precision={config.trainer.precision} would convert the operator's weights, and guidance would "
            "miss its target: choose 32-true, bf16-mixed or 16-mixed."
        )
    if config.trainer.get("inference_mode"):
        raise InputError("trainer.inference_mode=true allows no gradients, which some guidances take: leave it false.")
    for option in ("batch_size", "shown", *counts):
        if option == "count" and config.count is None:
            continue
        if not isinstance(config[option], int) or config[option] < 1:
            raise InputError(f"{option} must be a whole number of at least 1, got {config[option]!r}.")
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or abs(config.seed) >= 2**62:
        raise InputError(f"seed must be a whole number within ±2^62, got {config.seed}.")


def check_guidance(models: Models, request: Request) -> None:
    """Raise InputError if the first sample's guidance can't be made, or would guide no step of the sampler; warn if it
    guides only a few."""
    models, sampler = request.among(models), request.drawn_by
    if sampler.start is not None and request.images is None:
        raise InputError(
            f"sampler.start={sampler.start} needs images to start from, but these samples start from noise. "
            "(Of studies, study=edit and multi start from images: study.starts=[450].)"
        )
    if request.y is not None:
        made, levels = _tried_guidance(models, request), sampler.levels()
        if not isinstance(made, TargetGuidance) or made.exact:
            return
        guided, start = sum(made.schedule(level) > 0 for level in levels), sampler.start
        mend = "Start from a higher step, take more steps, or choose another guidance/schedule."
        if not guided:
            raise InputError(
                f"no step is guided: sampling goes from t = {levels[0]} down (sampler.start={start}), where "
                f"guidance.schedule is 0. {mend}"
            )
        if start is not None and guided < min(_FEW, len(levels)):
            log.warning("only %d of %d steps are guided, from t = %d down. %s", guided, len(levels), levels[0], mend)


def _tried_guidance(models: Models, request: Request) -> Guidance | None:
    """Make the first sample's guidance; a user's own guidance is also tried out on an image.

    Raises:
        InputError: If it can't be made, or fails.
    """
    y, free = (None if rows is None else rows[[0, 0]] for rows in (request.y, request.free))
    needs = (
        " It is called as (operator, y, free=..., readout=...) and gives what guides: its config needs "
        "`_partial_: true` and all other arguments, such as `schedule`; a class of your own passes `**options` on to "
        "TargetGuidance."
    )
    with told("the guidance can't be made", needs):
        made = request.guidance(need_operator(models).cpu(), y, free=free, readout=models.readout)
    if made is not None and not callable(made) and not hasattr(made, "guide"):
        raise InputError(
            f"a guidance is called as (operator, y, free=..., readout=...) and gives what guides, but {made!r} can't "
            "be called: does its config lack `_partial_: true`?"
        )
    if made is None or type(made).__module__.startswith("spnn."):
        return made
    strength = getattr(made, "schedule", lambda t: 1.0)
    t = max(request.drawn_by.levels(), key=strength)
    x = torch.zeros(2, *models.prior.image_shape)
    try:
        with torch.no_grad():
            halving = request.drawn_by.denoiser(lambda x, _: Denoised(x / 2, x / 2), lambda: torch.randn_like(x), 0)
            denoise = halving.at(t)
            guide(made, denoise, x, denoise.level)
    except InputError:
        raise
    except Exception as error:
        gradient = "a gradient is taken inside of `with torch.enable_grad():`, as sampling computes none. "
        raise InputError(
            f"{type(made).__name__} fails on an image of shape {tuple(x.shape)} at t = {t}: {error!r}. "
            f"{gradient.capitalize() if 'grad' in str(error) else ''}See docs/extending.md for an example."
        ) from error
    return made


def generate(
    models: Models,
    request: Request,
    store: MemoryStore,
    config: DictConfig,
    title: str,
    frames_of: Literal["image", "outputs"] = "image",
    watch: Callable[[float], None] | None = None,
    see: Callable[[Step], None] | None = None,
) -> bool:
    """Draw the samples that the store lacks; return whether this is the process that should write the results.

    Arguments:
        models: The prior and the operator.
        request: The requested samples.
        store: Keeps the samples; may hold some already.
        config: A command's config: ``trainer``, ``batch_size``, ``compile``.
        title: Title of the progress bar.
        frames_of: What to keep of a step: the corrected clean image, or the operator's outputs for it.
        watch: Called after each step with the share that is done; an exception that it raises ends the sampling.
        see: Called after each step of a batch with the step, whose ``x0`` are images; an exception that it raises ends
            the sampling.
    """
    with SamplingProgress(title, len(store.missing()), watch=watch) as progress:
        loop = _Sampling(request.among(models), request, store, config.batch_size, frames_of, progress, see)
        if config.compile:
            loop.prior.compile()
        engine: L.Trainer = instantiate(config.trainer)
        engine.predict(loop, return_predictions=False)
    engine.strategy.barrier()
    return engine.is_global_zero


class _Sampling(L.LightningModule):
    """Sampling as a prediction: each batch of targets becomes a batch of images in the store."""

    def __init__(
        self,
        models: Models,
        request: Request,
        store: MemoryStore,
        batch_size: int,
        frames_of: Literal["image", "outputs"],
        progress: SamplingProgress,
        see: Callable[[Step], None] | None,
    ):
        super().__init__()
        self.prior = models.prior.to(memory_format=torch.channels_last)
        self.operator, self.readout = models.operator, models.readout
        self.request, self.rows, self.store = request, request.rows(), store
        self.batch_size, self.frames_of, self.progress, self.see = batch_size, frames_of, progress, see
        self.shown = set(request.drawn_by.evenly_spread(request.frames))

    def setup(self, stage: str) -> None:
        self.missing = self.store.missing()
        self.threads = FollowingThreads() if self.device.type == "cpu" else None
        self.trainer.strategy.barrier()  # no process writes before all have looked up what is missing

    def predict_dataloader(self) -> DataLoader:
        index = torch.arange(len(self.store.names))
        dataset = Subset(TensorDataset(index, *self.rows.values()), self.missing)
        return DataLoader(dataset, batch_size=self.batch_size)

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        index, *rows = batch
        row, sampler = dict(zip(self.rows, rows, strict=True)), self.request.drawn_by
        decode: Callable[[Tensor], Tensor] = _as_they_are
        shape = self.prior.image_shape
        if isinstance(self.prior, LatentPrior):
            decode, shape = self.prior.decode, self.prior.noise_shape
        noise = ImageNoise(row["seed"].tolist(), shape, self.device)
        guidance, frames = None, []
        if "y" in row:
            guidance = self.request.guidance(self.operator, row["y"], free=row.get("free"), readout=self.readout)
        began = time.perf_counter()
        with torch.no_grad():
            for step in sampler.trajectory(self.prior, noise, guidance, row.get("image")):
                if self.threads is not None:
                    self.threads.step((time.perf_counter() - began) / len(index))
                self.progress.advance(len(index) / sampler.num_steps * self.trainer.world_size)
                if self.see is not None:
                    self.see(step._replace(x0=decode(step.x0)))
                if step.place in self.shown:
                    frames.append(self.frame(decode(step.x0)).float().cpu())
                began = time.perf_counter()
            image = decode(step.x0)
        found = {"index": index.cpu(), "image": image.float().cpu()}
        if frames:
            kept = index.cpu() < (_SHOWN if self.frames_of == "image" else len(self.store.names))
            found["frames"] = torch.stack(frames, dim=1)[kept]
        self.store.add(found)
        return index

    def frame(self, x0: Tensor) -> Tensor:
        """The part of a step that is kept."""
        if self.frames_of == "image":
            return x0
        assert self.operator is not None
        with torch.autocast(self.device.type, enabled=False):
            return self.operator(x0.float())


def _as_they_are(x0: Tensor) -> Tensor:
    return x0
