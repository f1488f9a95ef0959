r"""azula's priors in our sampler, and our priors in azula's samplers.

azula's denoisers give :math:`E[x_0 | x_t]` for :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon` at times in [0, 1],
with any schedule: variance-exploding (EDM), rectified flows, latent models. Only the ratio of noise to image matters to
a denoiser. So each step of our schedule is mapped to the time with the same ratio, and the image is scaled as the
denoiser expects it at that time.

References:
    azula (Rozet, 2024), https://github.com/probabilists/azula
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, ImagePrior
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.schedule import NoiseSchedule
from spnn.errors import InputError

if TYPE_CHECKING:
    from azula.denoise import Denoiser

__all__ = ["AzulaPrior", "as_azula"]

_HALVINGS = 50  # of [0, 1] when searching for a time: down to the rounding of float64


class AzulaPrior(ImagePrior):
    """An azula denoiser as a prior.

    Arguments:
        denoiser: An :class:`azula.denoise.Denoiser` for images in [-1, 1].
        image_shape: (C, H, W).
        schedule: The levels of noise that sampling visits; by default DDPM's. If the denoiser doesn't know a level, its
            nearest one is used.
    """

    times: Tensor
    pretrained = True
    trainable = False

    def __init__(self, denoiser: "Denoiser", image_shape: Sequence[int], schedule: NoiseSchedule | None = None):
        super().__init__()
        self.denoiser, self.image_shape = denoiser, tuple(image_shape)
        self.schedule = schedule or NoiseSchedule()
        signal, noise = self.schedule.roots.double().unbind(1)
        self.register_buffer("times", _times(denoiser, noise / signal).float(), persistent=False)

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        """Split the noisy images ``x`` [B, C, H, W] at steps ``t`` [B] into clean images and noise."""
        time = self.times[t]
        if (time == time[0]).all():
            time = time[0]  # some denoisers only take a scalar
        scale = torch.stack(self.denoiser.schedule(time)).square().sum(0).sqrt()
        mean = self.denoiser(scale.reshape(-1, 1, 1, 1) * x, time).mean.to(x)
        return Denoised.of_mean(x, mean, *self.schedule.signal_and_noise(t, x))


def _times(denoiser: "Denoiser", ratios: Tensor) -> Tensor:
    """The times at which the ratio of a denoiser's noise to the image has these values; the first or last time for
    values that don't occur."""
    low, high = torch.zeros_like(ratios), torch.ones_like(ratios)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        alpha, sigma = denoiser.schedule(middle)
        more = sigma > ratios * alpha
        low, high = torch.where(more, low, middle), torch.where(more, middle, high)
    return high


def as_azula(prior: ImagePrior) -> "Denoiser":
    """One of our priors as an azula denoiser: time :math:`t` is step :math:`t T - 1` of T, and 0 is the clean image.

    Raises:
        InputError: If azula isn't installed, or ``prior`` isn't a prior of images.
    """
    if not hasattr(prior, "schedule") or isinstance(prior, LatentPrior):
        raise InputError(
            f"expected a prior of images, with a schedule, got {type(prior).__name__}; for a latent prior, pass the "
            "prior of its codes, `prior.prior`."
        )
    try:
        from azula.denoise import Denoiser, DiracPosterior
    except ImportError:
        raise InputError("azula isn't installed: pip install 'spnn[azula]'.") from None

    class Ours(Denoiser):
        def __init__(self):
            super().__init__()
            self.prior = prior

        def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
            scales = torch.cat((torch.tensor([[1.0, 0.0]]), prior.schedule.roots)).to(t)
            signal, sigma = scales[self.step(t) + 1].unbind(-1)
            return signal, sigma

        def step(self, t: Tensor) -> Tensor:
            return (t * prior.schedule.num_steps).round().long() - 1

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> DiracPosterior:
            return DiracPosterior(prior(x_t, self.step(t).clamp(min=0).expand(len(x_t))).mean)

    return Ours()
