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

    With more magnitudes than pixels, ``g`` is **not onto**: most ``y`` belong to no image, and the laws of
    pseudo-inverses don't hold. The latents are the phases, and :math:`G^{-1}` cuts off the padding. So a
    back-projection is a step of error reduction (Gerchberg, Saxton): it gets closer to :math:`g(x) = y`, but doesn't
    reach it. An image and its rotation by 180 degrees have the same magnitudes: draw several samples, and keep the one
    that matches ``y`` best.

    Arguments:
        image_shape: (C, H, W) of the images.
        oversampling: Padding at either end of each side, in eighths of the side; 2 in DPS and DAPS.

    Raises:
        InputError: If the oversampling is negative.

    References:
        Phase retrieval algorithms: a comparison (Fienup, 1982)
        Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing (Zhang et al., 2024),
        https://arxiv.org/abs/2407.01521
    """

    num_latents = 1
    takes_pictures = False
    """Whether a measurement can be given as a picture."""

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
        # The image's middle is the origin, so that phases of 0 give a picture centred there.
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
