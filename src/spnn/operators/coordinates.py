r"""Changes of coordinates: bijections :math:`\varphi` of images.

``Composition(phi, A)`` is the surjection :math:`A \circ \varphi`: like a camera that first bends the tones or the
light's paths and then discards information. Its natural pseudo-inverse is :math:`\varphi^{-1} \circ A^\dagger` (the
paper's coordinate consistency).
"""

import math

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.surjection import Bijection

__all__ = ["Gamma", "Ripple"]


class Gamma(Bijection):
    r"""A tone curve: :math:`v \mapsto v^\gamma` for the brightness :math:`v = (x + 1) / 2`; maps [-1, 1] to itself.

    Below black, it is continued as an odd function, so that it is a bijection of all images. Its slope at black is zero
    (:math:`\gamma > 1`) or infinite (:math:`\gamma < 1`): where an image is exactly black, no gradient passes through.

    Arguments:
        gamma: :math:`\gamma > 0`; 2.2 darkens the middle tones, 1/2.2 lightens them.

    Raises:
        InputError: If :math:`\gamma` is not positive.
    """

    def __init__(self, gamma: float):
        super().__init__()
        if gamma <= 0:
            raise InputError(f"gamma must be positive, got {gamma}.")
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        return self._raise(x, self.gamma)

    def inverse(self, y: Tensor) -> Tensor:
        return self._raise(y, 1 / self.gamma)

    def inverse_with_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        v = ((y + 1) / 2).abs().clamp(min=torch.finfo(y.dtype).tiny)  # exactly black has no slope
        return self.inverse(y), (1 / self.gamma - 1) * v.log().flatten(1).sum(1)

    @staticmethod
    def _raise(x: Tensor, power: float) -> Tensor:
        v = (x + 1) / 2
        return 2 * v.sign() * v.abs() ** power - 1


class Ripple(Bijection):
    r"""An optical distortion, as through rippled glass: each row is shifted by a wave, then each column.

    Shifting a row, by any fraction of a pixel, changes the phases of its frequencies, so it is exactly invertible,
    unlike interpolation: :math:`\varphi` is orthogonal. Borders are circular.

    Arguments:
        amplitude: Amplitude of the wave in pixels.
        wavelength: Wavelength in pixels.
    """

    def __init__(self, amplitude: float, wavelength: float):
        super().__init__()
        self.amplitude, self.wavelength = amplitude, wavelength

    def forward(self, x: Tensor) -> Tensor:
        return self._shift(self._shift(x, self.amplitude).mT, self.amplitude).mT

    def inverse(self, y: Tensor) -> Tensor:
        return self._shift(self._shift(y.mT, -self.amplitude).mT, -self.amplitude)

    def inverse_with_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(y), y.new_zeros(len(y))

    def _shift(self, x: Tensor, amplitude: float) -> Tensor:
        """Shift row i, [B, C, H, W], to the right by the wave's value at i."""
        dtype, (height, width) = x.dtype, x.shape[-2:]
        x = x.to(torch.promote_types(dtype, torch.float32))  # no Fourier transform in half precision
        rows = torch.arange(height, dtype=x.dtype, device=x.device)
        shift = amplitude * torch.sin(2 * math.pi * rows / self.wavelength)
        frequency = torch.fft.rfftfreq(width, dtype=x.dtype, device=x.device)
        if width % 2 == 0:
            frequency[-1] = 0  # with an even width, the highest frequency has no phase to change
        angle = -2 * math.pi * shift[:, None] * frequency
        return torch.fft.irfft(torch.fft.rfft(x) * torch.polar(torch.ones_like(angle), angle), n=width).to(dtype)
