r"""Guidance: corrects the predicted clean image at each step of sampling, to make it satisfy ``g(x) = y``.

A guidance is a callable ``(x0 [B, C, H, W], t) -> x0`` made for one batch of targets, so that anything that depends
only on the targets is computed once. It works in float32 regardless of the precision around it, because autocast would
break :math:`g g^\dagger = \mathrm{id}`. A guidance that needs the noisy image, or a gradient through the prior, also
has a method ``guide``, see :func:`guide`.

A rule asks for a move :math:`d` of each image, as long as it takes to satisfy ``g``. A *bound* :math:`\rho` shortens
long moves and keeps their direction,

.. math:: x_0' = x_0 + \min\big(1, \rho / \mathrm{rms}(d)\big)\, d,

with the root mean square over the image's pixels. The prior then sees each correction before the next one is made, and
an image is led to its target over many steps instead of being forced there in one. Claim 1 holds for a move that is not
shortened; a shortened move satisfies ``g`` only in part and leaves the rest to the next steps. ``exact`` makes the last
step go the whole way, without a bound.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser, Level, checked
from spnn.diffusion.strength import Strength
from spnn.errors import InputError
from spnn.readout import LOGITS, Readout
from spnn.surjection import Completion, Surjection

__all__ = ["Guidance", "TargetGuidance", "guide", "unguided"]

Guidance = Callable[[Tensor, int], Tensor]


def guide(guidance: Guidance, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
    """Apply a guided prior to noisy images: return the corrected clean images, and the noise that the prior predicted.

    Arguments:
        guidance: Corrects the clean images; if it has a method ``guide(denoise, x, level)``, that does everything.
        denoise: The prior at this level of noise.
        x: The noisy images, [B, C, H, W].
        level: The level.
    """
    if own := getattr(guidance, "guide", None):
        found = own(denoise, x, level)
        if not isinstance(found, Denoised):
            raise InputError(f"{type(guidance).__name__}.guide must give a Denoised, but gave {type(found).__name__}.")
        return Denoised(*(checked(part, x, guidance, "clean images and noise") for part in found))
    found = denoise(x)
    return found._replace(mean=checked(guidance(found.mean, level.t), x, guidance, "clean images"))


def unguided(surjection: Surjection, target: Tensor, **_) -> None:
    """No guidance: plain samples of the prior, for comparison."""
    return None


class TargetGuidance:
    r"""Base of guidances towards a target: strength, stop rule, bound, free coordinates, clipping. A subclass
    implements :meth:`correct`, or a method ``guide`` (see :func:`guide`) with the help of :meth:`unmet`,
    :meth:`wanted`, :meth:`gradient` and :meth:`kept_in_range`.

    Arguments:
        surjection: :math:`g`.
        target: The wanted ``y``, [B, ...].
        schedule: The strength :math:`\lambda_t`, see :mod:`spnn.diffusion.strength`; a step of strength 0 costs
            nothing.
        stop: An image whose mean gap (for logits :math:`|\sigma(g(x_0)) - \sigma(y)|`) is at most this is left alone,
            and costs no more than that check; None: never.
        bound: :math:`\rho`, the longest move of a step: root mean square over the pixels of an image in [-1, 1]. None
            doesn't limit moves.
        clip: Clip the result to [-1, 1].
        free: True where a coordinate of ``y`` may take any value, [B, K]: its target is then the current
            :math:`g(x_0)`, whatever ``target`` holds, and the stop rule ignores it.
        readout: What ``y`` means; it defines how far an image is from its target. For logits, the stop rule compares
            probabilities; for values, it takes the mean :math:`|g(x_0) - y|`.

    Raises:
        InputError: If ``free`` doesn't have the target's shape, or the bound is not positive.
    """

    exact = False
    """Whether the last step, ``t = 0``, goes the whole way: strength 1, no stop, no bound, no clipping."""

    fresh_noise = False
    """Whether the next noisy image is the clean one with only new noise on it, without the noise of the last one."""

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        schedule: Strength,
        stop: float | None = None,
        bound: float | None = None,
        clip: bool = False,
        free: Tensor | None = None,
        readout: Readout = LOGITS,
    ):
        if free is not None and free.shape != target.shape:
            raise InputError(f"`free` has shape {tuple(free.shape)}, but the target has {tuple(target.shape)}.")
        self.surjection, self.target, self.schedule = surjection, target, schedule
        if bound is not None and not bound > 0:
            raise InputError(f"`bound` is the length of a move and must be positive (null: no bound), got {bound}.")
        self.stop, self.bound, self.clip, self.free, self.readout = stop, bound, clip, free, readout

    def correct(self, x0: Tensor, here: Completion, which: Tensor, strength: float) -> Tensor:
        """Move some images of the batch.

        Arguments:
            x0: These images, [b, C, H, W].
            here: :math:`G(x_0)`.
            which: Their places in the batch, [b].
            strength: :math:`\\lambda_t` > 0.

        Returns:
            These images, moved, [b, C, H, W].
        """
        raise InputError(f"{type(self).__name__} must implement correct(x0, here, which, strength), or guide.")

    def __call__(self, x0: Tensor, t: int) -> Tensor:
        """Return the corrected prediction."""
        exactly = self.exact and t == 0
        strength = 1.0 if exactly else self.schedule(t)
        if strength == 0:
            return x0
        with torch.autocast(x0.device.type, enabled=False):
            here = self.surjection.complete(x0)
            which = self.far(here.y, None if exactly else self.stop)
            if len(which) == 0:
                return x0
            moved = self.correct(x0[which], here.select(which), which, strength)
            checked(moved, x0[which], self, "the images that it moves")
            if not exactly:
                moved = self.kept_in_range(x0[which], moved)
        return torch.index_copy(x0, 0, which, moved.to(x0.dtype))

    def kept_in_range(self, x0: Tensor, moved: Tensor) -> Tensor:
        """Shorten the moves of images to the bound, and clip the images if requested."""
        if self.bound is not None:
            length = (moved - x0).square().mean((1, 2, 3), keepdim=True).sqrt()
            moved = torch.where(length > self.bound, x0 + self.bound / length * (moved - x0), moved)
        return moved.clamp(-1, 1) if self.clip else moved

    def wanted(self, y: Tensor, which: Tensor) -> Tensor:
        """The targets of some images with ``g(x0) = y``; free coordinates keep their values in ``y``."""
        target = self.target[which]
        return target if self.free is None else torch.where(self.free[which], y, target)

    def energy(self, x0: Tensor, which: Tensor) -> Tensor:
        """How far some images are from their targets, summed up; see :meth:`spnn.readout.Readout.energy`."""
        y = self.surjection(x0)
        return self.readout.energy(y, self.wanted(y.detach(), which))

    def gradient(self, x0: Tensor, which: Tensor) -> Tensor:
        """The gradient of :meth:`energy` at some clean images, [b, C, H, W], in float32. Because energies are summed
        up, an image's gradient does not depend on its batch."""
        with torch.enable_grad(), torch.autocast(x0.device.type, enabled=False):
            x0 = x0.detach().float().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(x0, which), x0)
        return gradient

    def far(self, y: Tensor, stop: float | None) -> Tensor:
        """Places of the images that the stop rule does not leave alone."""
        if stop is None:
            return torch.arange(len(y), device=y.device)
        gap = self.readout.gap(y, self.target)
        if self.free is not None:
            gap = gap.masked_fill(self.free, torch.nan)  # counts neither as right nor as wrong
        gap = gap.flatten(1).nanmean(1)
        return (gap > stop).nonzero().squeeze(1)

    def unmet(self, x0: Tensor) -> Tensor:
        """As :meth:`far`, for clean images [B, C, H, W]; ``g`` is computed, in float32, only if there is a stop
        rule."""
        if self.stop is None:
            return torch.arange(len(x0), device=x0.device)
        with torch.autocast(x0.device.type, enabled=False):
            return self.far(self.surjection(x0.float()), self.stop)
