"""Train a network to predict an image's labels: the base of phase 1, and the whole training of a judge."""

import torch
from torch import Tensor, nn

from spnn.diffusion.schedule import NoiseSchedule
from spnn.readout import LOGITS, Readout
from spnn.training.stage import Stage

__all__ = ["ClassifierStage", "JudgeStage", "NoisyJudgeStage"]


class ClassifierStage(Stage):
    """Trains with the loss of the data's readout, summed over its coordinates and averaged over the batch.

    Arguments:
        classifier: Images [B, C, H, W] to outputs [B, K].
        noise: Each training image gets Gaussian noise of a standard deviation drawn from [0, noise].
        **options: ``optimizer`` and ``scheduler``, see :class:`~spnn.training.stage.Stage`.
    """

    def __init__(self, classifier: nn.Module, *, noise: float = 0.0, **options):
        super().__init__(**options)
        setattr(self, self.trains, classifier)
        self.noise = noise
        self.readout: Readout = LOGITS  # `setup` replaces it by the data's

    def setup(self, stage: str) -> None:
        self.readout = self.data.source.readout
        self.score = self.readout.metric().to(self.device)

    def losses(self, image: Tensor, seen: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs for the ``seen`` (noisy) image, and the losses."""
        y = self.model(seen).float()
        return y, {"loss": self.losses_of_each(y, labels).sum()}

    def losses_of_each(self, y: Tensor, labels: Tensor) -> Tensor:
        """The loss of each coordinate, averaged over the batch, [K]."""
        return self.readout.loss(y, labels).mean(0)

    def disturbed(self, image: Tensor, labels: Tensor) -> Tensor:
        """The batch of training images as the classifier sees it."""
        if self.noise == 0:
            return image
        sigma = self.noise * torch.rand(len(image), 1, 1, 1, device=image.device)
        return image + sigma * torch.randn_like(image)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        image, labels = batch["image"], batch["labels"]
        _, losses = self.losses(image, self.disturbed(image, labels), labels)
        self.log_losses("train", losses, len(image))
        return losses["loss"]

    def evaluation_step(self, split: str, batch: dict[str, Tensor]) -> Tensor:
        image, labels = batch["image"], batch["labels"]
        y, losses = self.losses(image, image, labels)
        self.log_losses(split, losses, len(image))
        self.score.update(self.readout.decode(y), labels)
        return y

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.evaluation_step("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # the reported figures are in full precision
            self.evaluation_step("test", batch)

    def on_validation_epoch_end(self) -> None:
        self.log_score("val")

    def on_test_epoch_end(self) -> None:
        self.log_score("test")

    def log_score(self, split: str) -> None:
        """Log the mean of the readout's score, such as ``val/accuracy``, also on the progress bar, and the score of
        each coordinate, ``val/accuracy/<name>``. A mixed readout has these for each kind of score."""
        for kind, scores in self.readout.by_score(self.score.compute().reshape(-1)).items():
            known = {name: value for name, value in scores.items() if not value.isnan()}
            self.log(f"{split}/{kind}", torch.stack([*scores.values()]).nanmean(), prog_bar=True, sync_dist=True)
            self.log_dict({f"{split}/{kind}/{name}": value for name, value in known.items()}, sync_dist=True)
        self.score.reset()


class JudgeStage(ClassifierStage):
    """Train the independent judge: a plain classifier that guidance never sees."""

    trains = "judge"


class NoisyJudgeStage(JudgeStage):
    """Train a classifier of images at any noise level, for classifier guidance (Dhariwal and Nichol, 2021). It is
    validated and tested at all levels, too.

    Arguments:
        classifier, **options: See :class:`ClassifierStage`; its ``noise`` has no effect.
        schedule: The noise schedule; the same as the prior's.
    """

    of_noisy_images = True

    def __init__(self, classifier: nn.Module, *, schedule: NoiseSchedule | None = None, **options):
        super().__init__(classifier, **options)
        self.noise = 0.0  # ignore a judge's usual `noise`: the diffusion's noise is enough
        self.schedule = schedule or NoiseSchedule()

    def disturbed(self, image: Tensor, labels: Tensor) -> Tensor:
        t = torch.randint(self.schedule.num_steps, (len(image),), device=image.device)
        return self.schedule.add_noise(image, torch.randn_like(image), t)

    def evaluation_step(self, split: str, batch: dict[str, Tensor]) -> Tensor:
        image = batch["image"]
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).to(image)  # the same each time
        t = torch.linspace(0, self.schedule.num_steps - 1, len(image)).long().to(image.device)
        return super().evaluation_step(split, batch | {"image": self.schedule.add_noise(image, noise, t)})
