r"""Guidance by an energy, both through the prior and on the clean image: TFG and Universal Guidance.

With :math:`E(x) = L(g(x), y)`, the energy of :class:`~spnn.diffusion.GradientGuidance`, the predicted clean image
:math:`x_0(x_t)` moves by

.. math:: -\lambda_t\, \rho_t\, \nabla_{x_t} E(x_0(x_t)) \;+\; \Delta,

where :math:`\Delta` is the total move of some steps of gradient descent on :math:`E`, starting from :math:`x_0`. Both
methods recur at each level of noise; here, this is the sampler's time travel, ``travel_repeat`` times.
"""

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.guidance import Level, TargetGuidance
from spnn.errors import InputError
from spnn.surjection import Surjection

__all__ = ["TrainingFreeGuidance", "UniversalGuidance"]


class TrainingFreeGuidance(TargetGuidance):
    r"""TFG: variance guidance, through the prior, and mean guidance, on the clean image, by a smoothed energy.

    The energy is :math:`-\log E_\delta \exp(-E(x + \bar\gamma \sigma_t \delta))` with normal :math:`\delta`, estimated
    from a few draws that both parts share. :math:`\rho_t = \rho / \sqrt{\bar\alpha_s}` moves the next noisy image with
    rate :math:`\rho`, as in :class:`~spnn.diffusion.PosteriorGuidance`. Without mean guidance, the method reduces to
    that class (FreeDoM); without variance guidance, to :class:`~spnn.diffusion.GradientGuidance` (MPGD). In the paper,
    both rates grow with :math:`\bar\alpha_t / \bar\alpha_s`, which is near 1 except in the first steps; here they
    follow the schedule.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`.
        rate: :math:`\rho`; at 0, nothing is differentiated through the prior.
        mean_rate: :math:`\mu`, the rate of the descent on the clean image.
        iterations: Steps of that descent.
        smoothing: :math:`\bar\gamma`; 0: no smoothing.
        draws: How many images around each one enter the smoothed energy.
        **options: See :class:`~spnn.diffusion.TargetGuidance`.

    Raises:
        InputError: If a rate is negative or both are 0, or another number is out of range.

    References:
        TFG: Unified Training-Free Guidance for Diffusion Models (Ye et al., 2024), https://arxiv.org/abs/2409.15761
    """

    def __init__(
        self,
        surjection: Surjection,
        target: Tensor,
        *,
        rate: float = 0.3,
        mean_rate: float = 0.3,
        iterations: int = 1,
        smoothing: float = 0.0,
        draws: int = 1,
        **options,
    ):
        super().__init__(surjection, target, **options)
        if not (rate >= 0 and mean_rate >= 0 and rate + mean_rate > 0 and smoothing >= 0):
            raise InputError(
                "guidance.rate and guidance.mean_rate must be at least 0, and one of them positive, and "
                f"guidance.smoothing at least 0, got {rate}, {mean_rate} and {smoothing}."
            )
        if iterations < 1 or draws < 1:
            raise InputError(
                f"guidance.iterations and guidance.draws must be at least 1, got {iterations} and {draws}."
            )
        self.rate, self.mean_rate, self.iterations = rate, mean_rate, iterations
        self.smoothing, self.draws = smoothing, draws
        self.around: list[Tensor] = []  # offsets of the images that enter the energy in this step

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the clean images moved by both parts; see :func:`~spnn.diffusion.guidance.guide`."""
        strength = self.schedule(level.t)
        if strength == 0:
            return denoise(x)
        if self.smoothing:
            self.around = [self.smoothing * level.sigma * denoise.noise() for _ in range(self.draws)]
        found, pull = denoise.vjp(x) if self.rate else (denoise(x), None)
        which = self.unmet(found.mean)
        if len(which) == 0:
            return found
        x0 = moved = found.mean[which]
        if self.mean_rate:
            for _ in range(self.iterations):
                moved = moved - strength * self.mean_rate * self.gradient(moved, which)
        if pull is not None:
            moved = moved - strength * self.rate_at(level) * pull(self.gradient(x0, which), which)
        moved = self.kept_in_range(x0, moved)
        return found._replace(mean=found.mean.index_copy(0, which, moved.to(x0.dtype)))

    def rate_at(self, level: Level) -> float:
        r""":math:`\rho_t`."""
        return self.rate / level.next_signal

    def energy(self, x0: Tensor, which: Tensor) -> Tensor:
        if not self.smoothing:
            return super().energy(x0, which)
        energies = []
        for offset in self.around:
            y = self.surjection(x0 + offset[which])
            pairs = zip(y.split(1), self.wanted(y.detach(), which).split(1), strict=True)
            energies.append(torch.stack([self.readout.energy(*pair) for pair in pairs]))
        return -torch.stack(energies).neg().logsumexp(0).sum()  # up to a constant


class UniversalGuidance(TrainingFreeGuidance):
    r"""Universal Guidance: both parts correct the prior's noise, and the clean image moves with it.

    Forward guidance adds :math:`\lambda_t \rho \sigma_t \nabla_{x_t} E` to the noise that the prior predicts, and
    backward guidance subtracts :math:`\sqrt{\bar\alpha_t} / \sigma_t\, \Delta`. The clean image follows, hence
    :math:`\rho_t = \rho\, \sigma_t^2 / \sqrt{\bar\alpha_t}`. The arguments are those of :class:`TrainingFreeGuidance`.

    References:
        Universal Guidance for Diffusion Models (Bansal et al., 2023), https://arxiv.org/abs/2302.07121
    """

    def rate_at(self, level: Level) -> float:
        return self.rate * level.sigma**2 / level.signal

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the moved clean images and the moved noise; see :func:`~spnn.diffusion.guidance.guide`."""
        return Denoised.of_mean(x, super().guide(denoise, x, level).mean, level.signal, level.sigma)
