"""Overexposure: values that are too bright or too dark for a sensor are cut off."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.surjection import Completion, Surjection, per_sample

__all__ = ["Clipping"]


class Clipping(Surjection):
    r"""Raise an image's contrast and clip it, :math:`g(x) = \mathrm{clip}(\alpha x, -1, 1)`, [B, C, H, W] to the same.

    The latents are the parts that were cut off, :math:`\alpha x - g(x)`; they count only where ``y`` is black or white.
    Back-projection is the orthogonal projection on :math:`\{g = y\}`, or a part of the way there.

    Arguments:
        image_shape: (C, H, W) of the images.
        factor: :math:`\alpha`, above 1; DAPS uses 2 for the reconstruction of high dynamic range.

    Raises:
        InputError: If the factor is not above 1.

    References:
        Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing (Zhang et al., 2024),
        https://arxiv.org/abs/2407.01521
    """

    num_latents = 1

    def __init__(self, image_shape: Sequence[int], factor: float = 2.0):
        super().__init__()
        if not factor > 1:
            raise InputError(f"nothing is cut off: operator.factor must be above 1, got {factor}.")
        self.image_shape, self.factor = torch.Size(image_shape), factor

    def complete(self, x: Tensor) -> Completion:
        bright = self.factor * x
        y = bright.clamp(-1, 1)
        return Completion(y, [bright - y])

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        beyond = (y.abs() >= 1) & (z[0] * y > 0)
        return (y + z[0] * beyond) / self.factor

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``(y, [0])``."""
        return Completion(y, [torch.zeros_like(y)])

    def _nlbp(self, x: Tensor, here: Completion, there: Completion, strength: float | Tensor) -> Tensor:
        nearest = self.invert(there.y.to(x.dtype), here.z)
        return torch.lerp(x, nearest, per_sample(strength, x))
