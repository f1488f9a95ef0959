"""Guidance by back-projection: applies Definition 4.3 of the paper at each step of sampling."""

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from spnn.diffusion.guidance import TargetGuidance
from spnn.errors import InputError
from spnn.latents import Pinv, with_pinv
from spnn.surjection import Completion, Surjection

__all__ = ["BackProjection"]


class BackProjection(TargetGuidance):
    r"""Guidance by back-projection on :math:`\{x : g(x) = y\}`.

    For a linear ``g``, at strength 1 throughout and without a stop, it is DDNM's step in the range of ``g``.

    Arguments:
        surjection, target: As in :class:`TargetGuidance`.
        rule: ``nlbp`` (Definition 4.3) or ``naive`` (plain differences of pseudo-inverses, for comparison).
        pinv: Which latents the pseudo-inverse takes, see :mod:`spnn.latents`.
        exact: Whether the last step, ``t = 0``, goes the whole way, regardless of schedule, stop, bound and clipping;
            then :math:`g(x) = y` up to rounding (Claim 1). Only with ``rule="nlbp"``.
        **options: See :class:`TargetGuidance`.
    """

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        rule: Literal["nlbp", "naive"] = "nlbp",
        pinv: Pinv = "trained",
        exact: bool = False,
        **options,
    ):
        if rule not in ("nlbp", "naive"):
            raise InputError(f"the rule of back-projection is 'nlbp' or 'naive', not {rule!r}.")
        if exact and rule != "nlbp":
            raise InputError("only rule=nlbp satisfies g(x) = y exactly: set exact=false, or choose that rule.")
        super().__init__(with_pinv(surjection, pinv), target, **options)
        self.move = self.surjection.back_project if rule == "nlbp" else self.surjection.naive_back_project
        self.exact = exact

    @cached_property
    def completed_target(self) -> Completion:
        """The pseudo-inverse's completion of the batch's targets, computed once."""
        with torch.autocast(self.target.device.type, enabled=False):
            return self.surjection.complete_pinv(self.target)

    def correct(self, x0: Tensor, here: Completion, which: Tensor, strength: float) -> Tensor:
        # With free coordinates, the target changes at each step.
        target = self.completed_target.select(which) if self.free is None else self.wanted(here.y, which)
        return self.move(x0, target, strength, completed=here)
