r"""Guidance: what is done to the predicted clean image, at each step of sampling, to make it satisfy ``g(x) = y``.

A guidance is a callable ``(x0 [B, C, H, W], t) -> x0``, made for one batch of targets, so what depends on the targets
alone is computed once.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.latents import Pinv, with_pinv
from spnn.surjection import Surjection

__all__ = ["BackProjection", "Guidance", "PiecewiseStrength", "unguided"]

Guidance = Callable[[Tensor, int], Tensor]


def unguided(surjection: Surjection, target: Tensor) -> None:
    """No guidance at all: what the prior gives, for comparison."""
    return None


class PiecewiseStrength:
    r"""A back-projection strength :math:`\lambda_t` that is constant between levels of noise.

    Arguments:
        levels: Pairs ``(from_t, strength)``: each strength holds from its step up to the next one's.
            ``[(600, 0.5), (0, 1.0)]``, the published choice, is 0.5 for ``t >= 600`` and 1 below;
            ``[(400, 0.0), (0, 1.0)]`` guides below 400 only.

    Raises:
        InputError: If no level starts at 0 or a strength is not in [0, 1].
    """

    def __init__(self, levels: Sequence[tuple[int, float]]):
        self.levels = sorted(((int(t), float(strength)) for t, strength in levels), reverse=True)
        if not self.levels or self.levels[-1][0] != 0:
            raise InputError(f"the strength's levels must start at step 0, got {self.levels}.")
        if not all(0 <= strength <= 1 for _, strength in self.levels):
            raise InputError(f"strengths must lie in [0, 1], got {self.levels}.")

    def __call__(self, t: int) -> float:
        return next(strength for start, strength in self.levels if t >= start)


class BackProjection:
    r"""Guidance by back-projection on :math:`\{x : g(x) = y\}`.

    Arguments:
        surjection: :math:`g`.
        target: The wanted logits ``y``, [B, K].
        strength: :math:`\lambda_t` as a function of the step.
        stop: An image whose mean :math:`|\sigma(g(x_0)) - \sigma(y)|` is at most this is left as it is, and costs no
            more than that check; negative: never.
        rule: ``nlbp`` (Definition 4.3) or ``naive`` (plain differences of pseudo-inverses, for comparison).
        clip: Clip the result to [-1, 1].
        pinv: Which latents the pseudo-inverse takes, see :mod:`spnn.latents`.
    """

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        strength: Callable[[int], float],
        stop: float = -1.0,
        rule: Literal["nlbp", "naive"] = "nlbp",
        clip: bool = False,
        pinv: Pinv = "trained",
    ):
        if rule not in ("nlbp", "naive"):
            raise InputError(f"the rule of back-projection is 'nlbp' or 'naive', not {rule!r}.")
        surjection = with_pinv(surjection, pinv)
        self.surjection, self.strength, self.stop, self.clip = surjection, strength, stop, clip
        self.move = surjection.back_project if rule == "nlbp" else surjection.naive_back_project
        self.target_probability = target.sigmoid()
        self.completed_target = surjection.complete_pinv(target)

    def __call__(self, x0: Tensor, t: int) -> Tensor:
        """Return the corrected prediction."""
        strength = self.strength(t)
        if strength == 0:
            return x0
        completed = self.surjection.complete(x0)
        gap = (completed.y.sigmoid() - self.target_probability).abs().flatten(1).mean(1)
        far = (gap > self.stop).nonzero().squeeze(1)
        if len(far) == 0:
            return x0
        moved = self.move(x0[far], self.completed_target.select(far), strength, completed=completed.select(far))
        return torch.index_copy(x0, 0, far, (moved.clamp(-1, 1) if self.clip else moved).to(x0.dtype))
