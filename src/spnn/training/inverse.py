r"""Phase 2: train ``r``, the pseudo-inverse's choice of latents, and nothing else.

The natural pseudo-inverse (Definition 4.2) takes the point of :math:`\{x : g(x) = y\}` that is nearest to
:math:`G(0)` in the completed space. As :math:`G(g^\dagger(y)) = (y, z)`, the squared distance is
:math:`\|z(g^\dagger(y)) - z(0)\|^2` plus a constant; the published recipe adds the reconstruction error
:math:`\|g^\dagger(g(x)) - x\|^2`. The network is frozen, so :math:`G(0)` is computed once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from spnn.surjection import Surjection
from spnn.training.stage import Stage

__all__ = ["InverseStage"]


class InverseStage(Stage):
    r"""Phase 2.

    Arguments:
        surjection: A network trained in phase 1; everything except the sub-networks ``r`` is frozen.
        natural_weight: Weight of :math:`\|z(g^\dagger(y)) - z(0)\|^2`, averaged over the latents.
        reconstruction_weight: Weight of :math:`\|g^\dagger(y) - x\|^2`, averaged over the pixels.
        **options: ``optimizer`` and ``scheduler``, see :class:`~spnn.training.stage.Stage`.
    """

    trains = "surjection"
    continues = True

    def __init__(self, surjection: Surjection, *, natural_weight: float, reconstruction_weight: float, **options):
        super().__init__(**options)
        self.surjection = surjection.requires_grad_(False)
        for parameter in surjection.pinv_parameters():
            parameter.requires_grad_(True)
        self.natural_weight, self.reconstruction_weight = natural_weight, reconstruction_weight
        self._latents_of_zero: Tensor | None = None

    def latents_of_zero(self, like: Tensor) -> Tensor:
        """``z(0)`` in one row, [1, number of latents]."""
        if self._latents_of_zero is None:
            with torch.no_grad(), torch.inference_mode(False):
                zero = torch.zeros(1, *like.shape[1:], dtype=like.dtype, device=like.device)
                self._latents_of_zero = _in_rows(self.surjection.complete(zero).z)
        return self._latents_of_zero

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            y = self.surjection(image)
        if self.reconstruction_weight > 0:
            pinv, (_, z) = self.surjection.pinv_with_completion(y)
        else:
            _, z = self.surjection.complete_pinv(y)
        natural = (_in_rows(z) - self.latents_of_zero(image)).square().mean()
        losses = {"natural": natural}
        loss = self.natural_weight * natural
        if self.reconstruction_weight > 0:
            losses["reconstruction"] = F.mse_loss(pinv, image)
            loss = loss + self.reconstruction_weight * losses["reconstruction"]
        return {"loss": loss, **losses}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        losses = self.losses(batch["image"])
        self.log_losses("train", losses, len(batch["image"]))
        return losses["loss"]

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log_losses("val", self.losses(batch["image"]), len(batch["image"]))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # the reported figures are in full precision
            self.log_losses("test", self.losses(batch["image"]), len(batch["image"]))


def _in_rows(latents: list[Tensor]) -> Tensor:
    return torch.cat([z.flatten(1) for z in latents], dim=1)
