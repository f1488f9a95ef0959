"""Phase retrieval: an image from the magnitudes of its Fourier transform."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spnn.errors import InputError
from spnn.surjection import Completion, Surjection

__all__ = ["PhaseRetrieval"]


class PhaseRetrieval(Surjection):
    r"""The magnitudes of the Fourier transform of the brightness :math:`(x + 1) / 2`, padded by black,
    [B, C, H, W] -> [B, n].

    With more magnitudes than pixels, ``g`` is **not onto**: most ``y`` have no image, and the laws of pseudo-inverses
    don't hold. The latents are the phases, and :math:`G^{-1}` cuts the padding off. So a back-projection is a step of
    error reduction (Gerchberg, Saxton): it nears :math:`g(x) = y`, but doesn't meet it. An image and the same one
    turned by 180 degrees have equal magnitudes: draw several samples, and keep the one that meets ``y`` best.

    Arguments:
        image_shape: (C, H, W) of the images.
        oversampling: Each side is padded by so many eighths of it, at either end; 2 in DPS and DAPS.

    Raises:
        InputError: If the oversampling is negative.

    References:
        Phase retrieval algorithms: a comparison (Fienup, 1982)
        Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing (Zhang et al., 2024),
        https://arxiv.org/abs/2407.01521
    """

    num_latents = 1
    takes_pictures = False
    """Whether a picture can be a measurement."""

    def __init__(self, image_shape: Sequence[int], oversampling: float = 2.0):
        super().__init__()
        if not oversampling >= 0:
            raise InputError(f"operator.oversampling must be at least 0, got {oversampling}.")
        self.image_shape = torch.Size(image_shape)
        _, height, width = self.image_shape
        self.top, self.left = (int(oversampling / 8 * side) for side in (height, width))
        self.padded = height + 2 * self.top, width + 2 * self.left

    def complete(self, x: Tensor) -> Completion:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # no Fourier transform in half precision
        light = F.pad((exact + 1) / 2, (self.left, self.left, self.top, self.top))
        # The image's middle is the origin, so that phases of 0 make a picture about it.
        spectrum = torch.fft.fft2(torch.fft.ifftshift(light, dim=(-2, -1)), norm="ortho")
        return Completion(spectrum.abs().flatten(1).to(x.dtype), [spectrum.angle().to(x.dtype)])

    def invert(self, y: Tensor, z: list[Tensor]) -> Tensor:
        exact = torch.promote_types(y.dtype, torch.float32)
        spectrum = torch.polar(y.to(exact).reshape(z[0].shape), z[0].to(exact))
        light = torch.fft.fftshift(torch.fft.ifft2(spectrum, norm="ortho").real, dim=(-2, -1))
        _, height, width = self.image_shape
        return 2 * light[..., self.top : self.top + height, self.left : self.left + width].to(y.dtype) - 1

    def complete_pinv(self, y: Tensor) -> Completion:
        """Return ``y`` and phases of 0."""
        return Completion(y, [y.new_zeros(len(y), self.image_shape[0], *self.padded)])
