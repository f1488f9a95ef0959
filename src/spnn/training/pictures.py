"""Pictures at each validation that show what a stage has learnt: reconstructions and edits of validation images."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from spnn.diffusion import ImageNoise, Sampler, UNetPrior
from spnn.diffusion.guidance import Guidance
from spnn.runs import Run
from spnn.sampling.pictures import save_grid
from spnn.surjection import Surjection
from spnn.tracking import log_picture
from spnn.training.stage import Stage

__all__ = ["Pictures"]


class Pictures(Callback):
    """Writes ``pictures/step_<steps>.png`` in the stage's folder, and passes it to the loggers.

    While a surjection is trained, the picture shows images, their ``g†(g(x))``, and the images back-projected to their
    logits with one of them edited. While a prior is trained, it shows its samples; if the run already has a surjection,
    it shows reconstructions of images from their logits, and edits, and logs ``val/agreement``, the share of logits
    whose sign the reconstructions keep. Outputs that are maps are shown, too.

    Arguments:
        run: The run.
        images: The number of validation images.
        sampler: Makes the sampler for a noise schedule.
        guidance: Makes the guidance for a batch of targets.
        logit: The size of an edited logit; it gets the sign that the image doesn't have. One logit per image is edited,
            and outputs that are numbers aren't.
    """

    def __init__(
        self,
        run: Run,
        *,
        images: int,
        sampler: Callable[..., Sampler],
        guidance: Callable[..., Guidance | None],
        logit: float,
    ):
        self.run, self.count, self.logit = run, images, logit
        self.make_sampler, self.make_guidance = sampler, guidance

    @cached_property
    def surjection(self) -> Surjection:
        """The run's surjection, which doesn't change while a prior is trained."""
        return self.run.surjection()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Stage)
        if not trainer.is_global_zero or trainer.sanity_checking or pl_module.trains == "judge":
            return
        images = pl_module.data.validation_batch(0, self.count)["image"].to(pl_module.device)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            if pl_module.trains == "surjection":
                rows, captions = self._of_surjection(pl_module.model, images)
            else:
                rows, captions = self._of_prior(pl_module, images)
        folder = Path(trainer.default_root_dir) / "pictures"
        folder.mkdir(exist_ok=True)
        path = folder / f"step_{trainer.global_step:06d}.png"
        save_grid(
            {name: x.float().cpu() for name, x in rows.items()}, captions, path, legend=self.run.source.readout.legend
        )
        log_picture(trainer.loggers, "pictures", path, trainer.global_step - 1)  # Lightning logs with this step

    def _of_surjection(self, g: Surjection, images: Tensor) -> tuple[dict[str, Tensor], list[str]]:
        y = g(images)
        rows, captions = {"image": images, **self._shown("g(image)", y), "g†(g(image))": g.pinv(y)}, [""] * len(y)
        if self.run.source.readout.grouped:
            edited, captions = self._edit(y)
            rows["edited"] = g.back_project(images, edited)
        return rows, captions

    def _of_prior(self, stage: Stage, images: Tensor) -> tuple[dict[str, Tensor], list[str]]:
        if not self.run.has("surjection"):
            return {"sample": self._sample(stage.model, images)}, [""] * len(images)
        g = self.surjection.to(images.device)
        y = g(images)
        reconstructed = self._sample(stage.model, images, g, y)
        readout = self.run.source.readout
        found = g(reconstructed)
        agreement = readout.agrees(readout.decode(found), readout.decode(y)).float().mean()
        stage.log("val/agreement", agreement, prog_bar=True, rank_zero_only=True)
        rows = {"image": images, **self._shown("g(image)", y)}
        rows |= {"reconstructed": reconstructed, **self._shown("g(reconstructed)", found)}
        captions = [""] * len(y)
        if readout.grouped:
            edited, captions = self._edit(y)
            rows["edited"] = self._sample(stage.model, images, g, edited)
        return rows, captions

    def _shown(self, name: str, y: Tensor) -> dict[str, Tensor]:
        """A row that shows the outputs as pictures, if they are maps."""
        picture = self.run.source.readout.picture(y.float().cpu())
        return {} if picture is None else {name: picture}

    def _edit(self, y: Tensor) -> tuple[Tensor, list[str]]:
        """Set one label of each row to the opposite, or to another class; return captions of what was set, too."""
        readout, edited, captions = self.run.source.readout, y.clone(), []
        has, places = readout.has(readout.decode(y)), [k for k in range(y.shape[1]) if readout.part(k).grouped]
        for i in range(len(y)):
            k = places[i * len(places) // len(y)]
            if len(group := readout.together(k)) > 1:  # for classes, choose one that the image doesn't have
                k = next(place for place in (k, *group) if not has[i, place])
            edited[i, k] = -self.logit if has[i, k] else self.logit
            edited[i] = readout.settled(edited[[i]], [k])[0]
            of_group = torch.zeros(y.shape[1], dtype=torch.bool).index_fill(0, torch.tensor(group), True)
            for name, value in readout.chosen(edited[i].cpu(), of_group).items():
                captions.append(f"{name} {value}" if isinstance(value, str) else f"{name} {value:+g}")
        return edited, captions

    def _sample(self, prior: UNetPrior, like: Tensor, g: Surjection | None = None, y: Tensor | None = None) -> Tensor:
        noise = ImageNoise(range(len(like)), like.shape[1:], like.device)  # the same at each validation
        guidance = None if g is None else self.make_guidance(g, y, readout=self.run.source.readout)
        return self.make_sampler(schedule=prior.schedule)(prior, noise, guidance)
