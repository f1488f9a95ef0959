r"""DAPS: at each level of noise, draw clean images by Langevin dynamics, then add new noise for the next level.

Given :math:`x_t`, the clean image is approximately distributed as :math:`N(x_0, r_t^2 I)`; the targets' likelihood is
:math:`\exp(-E / \sigma_y^2)`, with the energy :math:`E(x) = L(g(x), y)`. The clean image is drawn by steps of length
:math:`\eta`, starting from :math:`x_0`:

.. math:: x \leftarrow x - \eta \big(r_t^{-2} (x - x_0) + \lambda_t \sigma_y^{-2} \nabla E(x)\big) + \sqrt{2 \eta}\, n.

Because the noise of the last level is forgotten, errors made there can be corrected.

References:
    Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing (Zhang et al., 2024),
    https://arxiv.org/abs/2407.01521
"""

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.guidance import Level, TargetGuidance
from spnn.diffusion.noisy import left_open
from spnn.errors import InputError
from spnn.surjection import Surjection

__all__ = ["DecoupledAnnealing"]


class DecoupledAnnealing(TargetGuidance):
    r"""Guidance by draws of the clean image, as in DAPS. :math:`x_0` is the end point of the prior's ODE from
    :math:`x_t`; with one step, it is the prior's clean image.

    For a linear ``g``, a prior of independent Gaussian pixels and many short steps, draws and samples follow the
    posterior.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`.
        noise: :math:`\sigma_y`: for numbers, the standard deviation of the noise on each output; for logits, its square
            is a temperature.
        deviation: Standard deviation of clean images' pixels in [-1, 1], :math:`s` in :math:`r_t^2`, see
            :func:`~spnn.diffusion.noisy.left_open`. If it is infinite, :math:`r_t = \sigma_t / \sqrt{\bar\alpha_t}`, as
            in the paper.
        rate: :math:`\eta (r_t^{-2} + \lambda_t \sigma_y^{-2})`; it must be below 2 for an operator of norm 1.
        iterations: Steps of Langevin dynamics at each step of sampling.
        ode_steps: Steps of the ODE, evenly spread down to no noise; each is an evaluation of the prior. The paper uses
            5.
        **options: See :class:`~spnn.diffusion.TargetGuidance`.

    Raises:
        InputError: If a number is out of range.
    """

    fresh_noise = True

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        noise: float = 0.1,
        deviation: float = 0.5,
        rate: float = 0.1,
        iterations: int = 20,
        ode_steps: int = 1,
        **options,
    ):
        super().__init__(surjection, target, **options)
        if not (noise > 0 and deviation > 0 and 0 < rate < 2 and min(iterations, ode_steps) >= 1):
            raise InputError(
                "guidance.noise and guidance.deviation must be positive, guidance.rate between 0 and 2, and "
                "guidance.iterations and guidance.ode_steps at least 1, got "
                f"{noise}, {deviation}, {rate}, {iterations} and {ode_steps}."
            )
        self.noise, self.deviation, self.rate = noise, deviation, rate
        self.iterations, self.ode_steps = iterations, ode_steps

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return draws of the clean images; see :func:`~spnn.diffusion.guidance.guide`."""
        found, strength = denoise(x), self.schedule(level.t)
        if strength == 0:
            return found
        at = level.t
        for i in range(1, self.ode_steps):
            below = denoise.at(round(level.t * (1 - i / self.ode_steps)))
            if below.level.t >= at:  # with so little noise left, two levels coincide
                continue
            at = below.level.t
            found = below(below.level.signal * found.mean + below.level.sigma * found.noise)
        which = self.unmet(found.mean)
        near, likely = 1 / left_open(self.deviation, level.signal, level.sigma), strength / self.noise**2
        step = self.rate / (near + likely)
        x0 = drawn = found.mean[which].float()
        for _ in range(self.iterations):
            noise = denoise.noise()[which]  # drawn even if nothing moves: an image must not depend on its batch
            if len(which):
                drift = near * (drawn - x0) + likely * self.gradient(drawn, which)
                drawn = drawn - step * drift + (2 * step) ** 0.5 * noise
        drawn = self.kept_in_range(x0, drawn)
        return found._replace(mean=torch.index_copy(found.mean, 0, which, drawn.to(x.dtype)))
