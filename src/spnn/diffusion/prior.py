r"""Diffusion priors: callables ``(x_t [B, C, H, W], t [B]) -> noise`` over images in [-1, 1]."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor, nn

from spnn.diffusion.schedule import NoiseSchedule
from spnn.errors import InputError

__all__ = ["UNetPrior"]


class UNetPrior(nn.Module):
    r"""A :class:`diffusers.UNet2DModel` that denoises images.

    Arguments:
        image_shape: (C, H, W).
        patch: The UNet sees the image after a pixel-unshuffle by this factor: ``patch**2`` times fewer positions, so
            about as many times less work for the same widths.
        prediction: What the UNet is trained to give: ``epsilon``, the noise; ``sample``, the clean image; or
            ``velocity``, :math:`\sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1 - \bar\alpha_t}\,x_0`. Calling the prior
            gives the noise in each case.
        schedule: The noise schedule.
        **unet: Arguments of :class:`diffusers.UNet2DModel` (widths, blocks, attention, ...).

    Raises:
        InputError: If the image can't be cut into patches, or ``prediction`` is unknown.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        schedule: NoiseSchedule,
        patch: int = 1,
        prediction: Literal["epsilon", "sample", "velocity"] = "epsilon",
        **unet: Any,
    ):
        super().__init__()
        channels, height, width = self.image_shape = tuple(image_shape)
        if height % patch or width % patch:
            raise InputError(f"{height}x{width} pixels can't be cut into patches of {patch}x{patch}.")
        if prediction not in ("epsilon", "sample", "velocity"):
            raise InputError(f"a prior predicts 'epsilon', 'sample' or 'velocity', not {prediction!r}.")
        self.patch, self.prediction, self.schedule = patch, prediction, schedule
        self.unet = UNet2DModel(
            sample_size=(height // patch, width // patch),
            in_channels=channels * patch**2,
            out_channels=channels * patch**2,
            **unet,
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the noise in ``x``, the image at steps ``t`` [B]."""
        output = self.predict(x, t)
        if self.prediction == "epsilon":
            return output
        signal, sigma = self.schedule.signal_and_noise(t, x)
        if self.prediction == "velocity":
            return signal * output + sigma * x
        return (x - signal * output) / sigma

    def predict(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the UNet's own output, in float32 or better; see :meth:`target`."""
        patches = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        patches = self.unet(patches.contiguous(memory_format=torch.channels_last), t).sample.to(x.dtype)
        return F.pixel_shuffle(patches, self.patch) if self.patch > 1 else patches

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what :meth:`predict` should give for the clean images ``x0`` and the noise added to them."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x0
        signal, sigma = self.schedule.signal_and_noise(t, x0)
        return signal * noise - sigma * x0
