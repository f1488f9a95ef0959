r"""Denoisers from the EDM code base as priors: ``net(x, σ)`` gives :math:`E[x_0 | x]` for :math:`x = x_0 + \sigma n`.

At a step of our schedule, :math:`x_t / a_t` is such an image, with :math:`\sigma = \sigma_t / a_t`.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    https://arxiv.org/abs/2206.00364
"""

from torch import Tensor, nn

from spnn.diffusion.denoiser import Denoised, ImagePrior
from spnn.diffusion.schedule import NoiseSchedule

__all__ = ["EDMPrior"]


class EDMPrior(ImagePrior):
    """A denoiser, ``(x [B, C, H, W], σ []) -> x0``, as a prior.

    Arguments:
        net: A network with ``img_channels`` and ``img_resolution``. If it has ``sigma_min`` and ``sigma_max``, and a
            step's level of noise lies outside, its nearest level is used.
        schedule: The levels of noise that sampling visits; by default DDPM's, up to σ = 157.
    """

    pretrained = True
    trainable = False

    def __init__(self, net: nn.Module, schedule: NoiseSchedule | None = None):
        super().__init__()
        self.net, self.schedule = net, schedule or NoiseSchedule()
        self.image_shape = (net.img_channels, net.img_resolution, net.img_resolution)  # type: ignore[assignment]
        self.range = getattr(net, "sigma_min", 0.0), getattr(net, "sigma_max", float("inf"))

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        """Split the noisy images ``x`` [B, C, H, W] at steps ``t`` [B], which are all equal."""
        signal, sigma = self.schedule.signal_and_noise(t, x)
        level = (sigma / signal)[0].flatten()[0].clamp(*self.range)
        return Denoised.of_mean(x, self.net(x / signal, level).to(x), signal, sigma)
