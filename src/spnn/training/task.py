r"""Phase 1: train the surjection on its task, to tell an image's attributes.

The loss is binary cross-entropy, summed over attributes and averaged over the batch. The published recipe adds
:math:`40\,\mathrm{mean}\|g^\dagger(g(x)) - x\|^2`, which also trains ``r``. Its third term, the right-inverse error
:math:`\|g(g^\dagger(y)) - y\|`, is zero by construction: it is measured on the validation images, never paid for in a
training step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelAccuracy

from spnn.surjection import Surjection
from spnn.training.stage import Stage

__all__ = ["TaskStage"]


class TaskStage(Stage):
    r"""Phase 1.

    Arguments:
        surjection: The network, images [B, C, H, W] to logits [B, K].
        reconstruction_weight: Weight of :math:`\|g^\dagger(g(x)) - x\|^2`; 0 for the paper's plain task loss.
        noise: Each training image gets Gaussian noise of a standard deviation drawn from [0, noise]; it makes the
            network stable on the imperfect images that guidance will show it.
        **options: ``optimizer`` and ``scheduler``, see :class:`~spnn.training.stage.Stage`.
    """

    trains = "surjection"

    def __init__(
        self,
        surjection: Surjection,
        *,
        reconstruction_weight: float,
        noise: float = 0.0,
        **options,
    ):
        super().__init__(**options)
        self.surjection = surjection
        self.reconstruction_weight, self.noise = reconstruction_weight, noise

    def setup(self, stage: str) -> None:
        self.attributes = self.trainer.datamodule.source.attributes
        self.accuracy = MultilabelAccuracy(len(self.attributes), average="none").to(self.device)

    def losses(self, image: Tensor, seen: Tensor, attributes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of the ``seen`` (noisy) image, and the losses against the clean one."""
        y = self.surjection(seen)
        task = F.binary_cross_entropy_with_logits(y, attributes, reduction="sum") / len(image)
        losses = {"loss": task, "task": task}
        if self.reconstruction_weight > 0:
            losses["reconstruction"] = F.mse_loss(self.surjection.pinv(y), image)
            losses["loss"] = task + self.reconstruction_weight * losses["reconstruction"]
        return y, losses

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        image = batch["image"]
        sigma = self.noise * torch.rand(len(image), 1, 1, 1, device=image.device)
        seen = image + sigma * torch.randn_like(image) if self.noise > 0 else image
        _, losses = self.losses(image, seen, batch["attributes"])
        self.log_losses("train", losses, len(image))
        return losses["loss"]

    def evaluation_step(self, split: str, batch: dict[str, Tensor]) -> None:
        image, attributes = batch["image"], batch["attributes"]
        y, losses = self.losses(image, image, attributes)
        right_inverse = (self.surjection(self.surjection.pinv(y)) - y).abs().amax()
        self.log(f"{split}/right_inverse_error", right_inverse, reduce_fx="max", sync_dist=True)
        self.log_losses(split, losses, len(image))
        self.accuracy.update(y, attributes.int())

    def on_evaluation_epoch_end(self, split: str) -> None:
        accuracy = self.accuracy.compute()
        self.accuracy.reset()
        self.log(f"{split}/accuracy", accuracy.mean(), prog_bar=True)
        if split == "test":
            self.log_dict({f"test/accuracy/{n}": a for n, a in zip(self.attributes, accuracy, strict=True)})

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.evaluation_step("val", batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.evaluation_step("test", batch)

    def on_validation_epoch_end(self) -> None:
        self.on_evaluation_epoch_end("val")

    def on_test_epoch_end(self) -> None:
        self.on_evaluation_epoch_end("test")
