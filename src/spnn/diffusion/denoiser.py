r"""What a prior predicts of noisy images :math:`x_t = a_t x_0 + \sigma_t \varepsilon`: what they are expected to be.

Each of :math:`E[x_0 | x_t]` and :math:`E[\varepsilon | x_t]` gives the other. Networks predict one of them, or a
mixture, and a guided sampler takes both: the corrected clean image, with the noise that the prior saw.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spnn.diffusion.schedule import NoiseSchedule
from spnn.errors import InputError

__all__ = ["Denoised", "Denoiser", "ImagePrior", "Level", "checked"]

Scale = float | Tensor


class Denoised(NamedTuple):
    """Noisy images, taken apart.

    Attributes:
        mean: The clean images, [B, C, H, W].
        noise: The noise, [B, C, H, W], of variance 1.
    """

    mean: Tensor
    noise: Tensor

    @classmethod
    def of_noise(cls, x: Tensor, noise: Tensor, signal: Scale, sigma: Scale) -> "Denoised":
        """What images ``x`` are whose noise is known, at scales ``signal`` of the image and ``sigma`` of the noise."""
        return cls((x - sigma * noise) / signal, noise)

    @classmethod
    def of_mean(cls, x: Tensor, mean: Tensor, signal: Scale, sigma: Scale) -> "Denoised":
        """What images ``x`` are whose clean image is known."""
        return cls(mean, (x - signal * mean) / sigma)


class ImagePrior(nn.Module):
    """A prior of images, ``(x_t [B, C, H, W], t [B]) -> Denoised``. Any module that has these attributes will do."""

    image_shape: tuple[int, ...]
    """(C, H, W)."""
    schedule: NoiseSchedule
    """The levels of noise that it knows."""


class Level(NamedTuple):
    r"""Where a step of sampling is, and where it leads.

    Attributes:
        t: The level of noise, 0 (clean) to 999, whatever the length of the prior's schedule.
        signal, sigma: :math:`\sqrt{\bar\alpha_t}` and :math:`\sqrt{1 - \bar\alpha_t}`, the scales in ``x_t``.
        next_signal: :math:`\sqrt{\bar\alpha_s}`, the image's scale after the step.
    """

    t: int
    signal: float
    sigma: float
    next_signal: float


class Denoiser:
    """A prior at one level of noise, as a guidance sees it in a step of sampling.

    Arguments:
        level: The level.
        denoise: Takes noisy images [B, C, H, W] apart; it can be differentiated.
        noise: Gives standard normal noise [B, C, H, W], new at each call, from each image's own generator.
        at: Gives the same prior at another level of noise, 0 to 999.
    """

    def __init__(
        self,
        level: Level,
        denoise: Callable[[Tensor], Denoised],
        noise: Callable[[], Tensor],
        at: Callable[[int], "Denoiser"],
    ):
        self.level, self.denoise, self.noise, self.at = level, denoise, noise, at

    def __call__(self, x: Tensor) -> Denoised:
        """Take noisy images apart."""
        return self.denoise(x)

    def vjp(self, x: Tensor) -> tuple[Denoised, Callable[[Tensor, Tensor], Tensor]]:
        r"""Take noisy images apart so that a gradient can be pulled back through the prior.

        Returns:
            The images, taken apart, and a function of :math:`v` [b, C, H, W] and of the places of these in the batch,
            [b], to be called once: :math:`v^\top \partial x_0 / \partial x_t`, the product with the Jacobian of the
            clean images. It is the prior's backward pass.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            found = self(x)

        def pull(v: Tensor, which: Tensor) -> Tensor:
            every = torch.zeros_like(found.mean).index_copy(0, which, v.to(found.mean.dtype))
            return torch.autograd.grad(found.mean, x, every)[0][which]

        return Denoised(*(part.detach() for part in found)), pull


def checked(found: object, like: Tensor, by: object, what: str) -> Tensor:
    """A tensor of images that somebody's own prior or guidance gave.

    Arguments:
        found: What it gave.
        like: What it has the shape of, [B, C, H, W].
        by: Who gave it.
        what: What it should be, for the message.

    Raises:
        InputError: If it is none, or of another shape.
    """
    if isinstance(found, Tensor) and found.shape == like.shape:
        return found
    shown = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    name = getattr(by, "__name__", type(by).__name__)
    raise InputError(f"{name} must give {what} of shape {list(like.shape)}, but gave {shown}.")
