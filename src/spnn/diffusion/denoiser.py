r"""A prior's predictions for noisy images :math:`x_t = a_t x_0 + \sigma_t \varepsilon`: clean images and noise.

Each of :math:`E[x_0 | x_t]` and :math:`E[\varepsilon | x_t]` determines the other. Networks predict one of them, or a
mixture, and a guided sampler uses both: the corrected clean image, and the noise that the prior predicted.
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
    """Noisy images, split into clean images and noise.

    Attributes:
        mean: The clean images, [B, C, H, W].
        noise: The noise, [B, C, H, W], with variance 1.
    """

    mean: Tensor
    noise: Tensor

    @classmethod
    def of_noise(cls, x: Tensor, noise: Tensor, signal: Scale, sigma: Scale) -> "Denoised":
        """Split images ``x`` whose noise is known, with scales ``signal`` of the image and ``sigma`` of the noise."""
        return cls((x - sigma * noise) / signal, noise)

    @classmethod
    def of_mean(cls, x: Tensor, mean: Tensor, signal: Scale, sigma: Scale) -> "Denoised":
        """Split images ``x`` whose clean image is known."""
        return cls(mean, (x - signal * mean) / sigma)


class ImagePrior(nn.Module):
    """A prior of images, ``(x_t [B, C, H, W], t [B]) -> Denoised``. Any module with these attributes will do."""

    image_shape: tuple[int, ...]
    """(C, H, W)."""
    schedule: NoiseSchedule
    """The levels of noise that the prior knows."""


class Level(NamedTuple):
    r"""Where a step of sampling is, and where it leads.

    Attributes:
        t: The level of noise, 0 (clean) to 999, regardless of the length of the prior's schedule.
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
        denoise: Splits noisy images [B, C, H, W] into clean images and noise; it is differentiable.
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
        """Split noisy images into clean images and noise."""
        return self.denoise(x)

    def vjp(self, x: Tensor) -> tuple[Denoised, Callable[[Tensor, Tensor], Tensor]]:
        r"""Split noisy images so that a gradient can be pulled back through the prior.

        Returns:
            The clean images and noise, and a function that may be called once. It takes :math:`v` [b, C, H, W] and the
            places of these images in the batch, [b], and returns :math:`v^\top \partial x_0 / \partial x_t`, the
            product with the Jacobian of the clean images. It is the prior's backward pass.
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            found = self(x)

        def pull(v: Tensor, which: Tensor) -> Tensor:
            every = torch.zeros_like(found.mean).index_copy(0, which, v.to(found.mean.dtype))
            return torch.autograd.grad(found.mean, x, every)[0][which]

        return Denoised(*(part.detach() for part in found)), pull


def checked(found: object, like: Tensor, by: object, what: str) -> Tensor:
    """Return a tensor of images from a user's own prior or guidance, after checking it.

    Arguments:
        found: The result to check.
        like: A tensor of the expected shape, [B, C, H, W].
        by: The prior or guidance that gave the result.
        what: What the result should be, for the message.

    Raises:
        InputError: If the result is not a tensor, or has another shape.
    """
    if isinstance(found, Tensor) and found.shape == like.shape:
        return found
    shown = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    name = getattr(by, "__name__", type(by).__name__)
    raise InputError(f"{name} must give {what} of shape {list(like.shape)}, but gave {shown}.")
