"""Training a classifier of attributes: the base of phase 1, and all there is to an independent judge's training."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MultilabelAccuracy

from spnn.training.stage import Stage

__all__ = ["ClassifierStage", "JudgeStage"]


class ClassifierStage(Stage):
    """Binary cross-entropy on the attributes' logits, summed over attributes and averaged over the batch.

    Arguments:
        classifier: Images [B, C, H, W] to logits [B, K].
        noise: Each training image gets Gaussian noise of a standard deviation drawn from [0, noise].
        **options: ``optimizer`` and ``scheduler``, see :class:`~spnn.training.stage.Stage`.
    """

    def __init__(self, classifier: nn.Module, *, noise: float = 0.0, **options):
        super().__init__(**options)
        setattr(self, self.trains, classifier)
        self.noise = noise

    def setup(self, stage: str) -> None:
        self.attributes = self.trainer.datamodule.source.attributes
        self.accuracy = MultilabelAccuracy(len(self.attributes), average="none").to(self.device)

    def losses(self, image: Tensor, seen: Tensor, attributes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of the ``seen`` (noisy) image, and the losses."""
        y = self.model(seen).float()
        return y, {"loss": self.attribute_losses(y, attributes).sum()}

    def attribute_losses(self, y: Tensor, attributes: Tensor) -> Tensor:
        """The cross-entropy of each attribute, averaged over the batch, [K]."""
        return F.binary_cross_entropy_with_logits(y, attributes, reduction="none").mean(0)

    def disturbed(self, image: Tensor, attributes: Tensor) -> Tensor:
        """What the classifier sees of a batch of training images."""
        if self.noise == 0:
            return image
        sigma = self.noise * torch.rand(len(image), 1, 1, 1, device=image.device)
        return image + sigma * torch.randn_like(image)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        image, attributes = batch["image"], batch["attributes"]
        _, losses = self.losses(image, self.disturbed(image, attributes), attributes)
        self.log_losses("train", losses, len(image))
        return losses["loss"]

    def evaluation_step(self, split: str, batch: dict[str, Tensor]) -> Tensor:
        image, attributes = batch["image"], batch["attributes"]
        y, losses = self.losses(image, image, attributes)
        self.log_losses(split, losses, len(image))
        self.accuracy.update(y, attributes.int())
        return y

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.evaluation_step("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # the figures to report are those of full precision
            self.evaluation_step("test", batch)

    def on_validation_epoch_end(self) -> None:
        self.log_accuracy("val")

    def on_test_epoch_end(self) -> None:
        self.log_accuracy("test")

    def log_accuracy(self, split: str) -> None:
        """Log ``split/accuracy``, the mean, on the progress bar too, and ``split/accuracy/<attribute>``."""
        accuracy = self.accuracy.compute()
        self.accuracy.reset()
        self.log(f"{split}/accuracy", accuracy.mean(), prog_bar=True, sync_dist=True)
        by_name = {f"{split}/accuracy/{name}": a for name, a in zip(self.attributes, accuracy, strict=True)}
        self.log_dict(by_name, sync_dist=True)


class JudgeStage(ClassifierStage):
    """Train the independent judge: a plain classifier that guidance never sees."""

    trains = "judge"
