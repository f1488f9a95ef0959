r"""Phase 1: train the surjection on its task, to predict an image's labels.

The published recipe adds :math:`40\,\mathrm{mean}\|g^\dagger(g(x)) - x\|^2` to the classification loss, which also
trains ``r``. Its third term, the right-inverse error :math:`\|g(g^\dagger(y)) - y\|`, is zero by construction, so it
is only measured on the validation and test images, and costs no time in a training step.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from spnn.networks import SPNN
from spnn.training.adversary import Adversary
from spnn.training.attribute_weights import AdaptiveWeights
from spnn.training.classifier import ClassifierStage

__all__ = ["TaskStage"]


class TaskStage(ClassifierStage):
    r"""Phase 1.

    Arguments:
        surjection: The network, images [B, C, H, W] to outputs [B, K].
        reconstruction_weight: Weight of :math:`\|g^\dagger(g(x)) - x\|^2`; 0 for the paper's plain task loss.
        adversary: Moves part of each training batch against its labels, see
            :class:`~spnn.training.adversary.Adversary`; None leaves the images unchanged.
        attribute_weights: Makes the :class:`~spnn.training.attribute_weights.AdaptiveWeights` of K attributes; None
            gives all of them equal weight.
        **options: See :class:`~spnn.training.classifier.ClassifierStage`. ``noise`` makes the network stable on the
            imperfect images that it sees in guidance.
    """

    trains = "surjection"
    surjection: SPNN

    def __init__(
        self,
        surjection: SPNN,
        *,
        reconstruction_weight: float,
        adversary: Adversary | None = None,
        attribute_weights: Callable[[int], AdaptiveWeights] | None = None,
        **options,
    ):
        super().__init__(surjection, **options)
        self.reconstruction_weight, self.adversary = reconstruction_weight, adversary
        self.attribute_weights = None if attribute_weights is None else attribute_weights(surjection.num_outputs)
        if reconstruction_weight == 0:  # then nothing depends on r, and DDP waits for every trainable parameter
            for parameter in surjection.pinv_parameters():
                parameter.requires_grad_(False)

    def disturbed(self, image: Tensor, labels: Tensor) -> Tensor:
        """The noisy images, some of them moved against their labels."""
        image = super().disturbed(image, labels)
        if self.adversary is None:
            return image

        def loss(some: Tensor, part: slice) -> Tensor:
            y = self.surjection(some).float()
            return self.readout.loss(y, labels[part]).sum()

        return self.adversary(image, loss)

    def losses(self, image: Tensor, seen: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs for the ``seen`` (noisy) image, and the losses against the clean one."""
        y, losses = super().losses(image, seen, labels)
        losses["task"] = losses["loss"]
        if self.reconstruction_weight > 0:
            losses["reconstruction"] = F.mse_loss(self.surjection.pinv(y), image)
            losses["loss"] = losses["task"] + self.reconstruction_weight * losses["reconstruction"]
        return y, losses

    def losses_of_each(self, y: Tensor, labels: Tensor) -> Tensor:
        losses = super().losses_of_each(y, labels)
        if self.attribute_weights is None or not self.training:  # validations must be comparable: no weights
            return losses
        return self.attribute_weights.weights * losses

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        weights, step = self.attribute_weights, self.global_step
        # Update before a step, not after it, so that each checkpoint holds all updates of the steps before it.
        if weights is None or step == 0 or step % weights.interval or step == weights.newest:
            return
        # All processes use the same images, so their weights stay equal.
        batch = self.data.validation_batch(step // weights.interval)
        with torch.no_grad():
            self.surjection.eval()
            y = self.surjection(batch["image"].to(self.device)).float()
            self.surjection.train()
        weights.update(super().losses_of_each(y, batch["labels"].to(self.device)))
        weights.newest.fill_(step)

    def evaluation_step(self, split: str, batch: dict[str, Tensor]) -> Tensor:
        y = super().evaluation_step(split, batch)
        error = (self.surjection(self.surjection.pinv(y)) - y).abs().amax()
        self.log(f"{split}/right_inverse_error", error, reduce_fx="max", sync_dist=True)
        return y
