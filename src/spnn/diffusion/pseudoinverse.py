r"""Pseudo-inverse guidance (PiGDM): the move that would satisfy ``g``, pulled back through the prior.

Given :math:`x_t`, the clean image is approximately distributed as :math:`N(x_0, r_t^2 I)`. Then the targets' score is

.. math:: \nabla_{x_t} \log p(y | x_t) = r_t^{-2} \big(\partial x_0 / \partial x_t\big)^\top d,

where :math:`d` is the move of the clean image that the targets ask for: :math:`g^\dagger(y) - g^\dagger(g(x_0))`; or,
for targets with noise, :math:`r_t^2 J^\top (r_t^2 J J^\top + \sigma_y^2 I)^{-1} (y - g(x_0))`, with the Jacobian
:math:`J` of ``g``. By Tweedie's formula, the clean image moves by :math:`\sigma_t^2 / \sqrt{\bar\alpha_t}` times the
score, and the noise moves with it.

References:
    Pseudoinverse-Guided Diffusion Models for Inverse Problems (Song et al., 2023),
    https://openreview.net/forum?id=9_gsMA8MRKQ
"""

from typing import Literal

import torch
from torch import Tensor

from spnn.diffusion.back_projection import BackProjection
from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.guidance import Level
from spnn.diffusion.noisy import explained, left_open
from spnn.errors import InputError
from spnn.surjection import Completion, Surjection

__all__ = ["PseudoinverseGuidance"]


class PseudoinverseGuidance(BackProjection):
    r"""Guidance by the score of the targets, computed with the pseudo-inverse.

    For a linear ``g`` and a prior of independent Gaussian pixels, a step gives the exact posterior mean. The paper
    weights the score by :math:`r_t^2` and adds it to its sampler's next image; here the score has its weight from
    Tweedie's formula, times :math:`\lambda_t`.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`.
        noise: :math:`\sigma_y`, the standard deviation of the noise on each output; 0: none.
        deviation: Standard deviation of clean images' pixels in [-1, 1], :math:`s` in :math:`r_t^2`, see
            :func:`~spnn.diffusion.noisy.left_open`; the paper uses 1.
        iterations: Maximum number of conjugate-gradient iterations, if there is noise.
        rule: The rule for the move if there is no noise: ``naive``, as in the paper, or ``nlbp``, as in
            :class:`BackProjection`; they differ if ``g`` is not linear.
        **options: See :class:`BackProjection`.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        noise: float = 0.0,
        deviation: float = 0.5,
        iterations: int = 10,
        rule: Literal["nlbp", "naive"] = "naive",
        **options,
    ):
        super().__init__(surjection, target, rule=rule, **options)
        if not (noise >= 0 and deviation > 0 and iterations >= 1):
            raise InputError(
                "guidance.noise must be at least 0, guidance.deviation positive and guidance.iterations at least 1, "
                f"got {noise}, {deviation} and {iterations}."
            )
        if self.exact:
            raise InputError("pseudo-inverse guidance meets no target exactly: set guidance.exact=false.")
        self.noise, self.deviation, self.iterations = noise, deviation, iterations

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the moved clean images and the moved noise; see :func:`~spnn.diffusion.guidance.guide`."""
        strength = self.schedule(level.t)
        if strength == 0:
            return denoise(x)
        found, pull = denoise.vjp(x)
        variance = left_open(self.deviation, level.signal, level.sigma)
        with torch.autocast(x.device.type, enabled=False):
            mean = found.mean.float()
            here = self.surjection.complete(mean)
            which = self.far(here.y, self.stop)
            if len(which) == 0:
                return found
            x0 = mean[which]
            asked = self.asked(x0, here.select(which), which, variance)
        pulled = pull(asked, which)
        moved = self.kept_in_range(x0, x0 + strength * level.sigma**2 / (level.signal * variance) * pulled)
        return Denoised.of_mean(x, mean.index_copy(0, which, moved).to(x.dtype), level.signal, level.sigma)

    def asked(self, x0: Tensor, here: Completion, which: Tensor, variance: float) -> Tensor:
        """The move of some clean images that their targets ask for, [b, C, H, W]."""
        if self.noise == 0:
            return self.correct(x0, here, which, 1.0) - x0
        return explained(self.surjection, x0, self.wanted(here.y, which), variance, self.noise, self.iterations)[1]
