"""Guidance by gradients: with respect to the predicted clean image, or, through the prior, to the noisy image."""

import math

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser, Level
from spnn.diffusion.guidance import TargetGuidance
from spnn.errors import InputError
from spnn.surjection import Completion, Surjection

__all__ = ["GradientGuidance", "PosteriorGuidance"]


class GradientGuidance(TargetGuidance):
    r"""Guidance by the gradient of a loss with respect to the predicted clean image: the usual alternative.

    The update :math:`x_0 \leftarrow x_0 - \lambda_t\, \eta\, \nabla_{x_0} L(g(x_0), y)` is made ``iterations`` times.
    For logits, :math:`L` is the cross-entropy of their probabilities,
    :math:`\sum_k \mathrm{KL}(\sigma(y_k) \| \sigma(g_k(x_0)))`; for values, it is half the squared distance, so that
    with one iteration and a linear ``g`` with orthonormal rows, the rule is back-projection with strength
    :math:`\lambda_t \eta`.

    Arguments:
        surjection, target: As in :class:`TargetGuidance`.
        rate: :math:`\eta`.
        iterations: Steps of gradient descent at each step of sampling.
        **options: See :class:`TargetGuidance`.

    References:
        Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2023),
        https://arxiv.org/abs/2209.14687 (which also differentiates through the prior)
        Manifold Preserving Guided Diffusion (He et al., 2024), https://arxiv.org/abs/2311.16424 (one iteration at every
        level is MPGD without an autoencoder)
    """

    def __init__(self, surjection: Surjection, target: Tensor, *, rate: float = 1.0, iterations: int = 1, **options):
        super().__init__(surjection, target, **options)
        if not 0 < rate < math.inf or iterations < 1:
            raise InputError(
                f"a descent needs a positive rate and at least one iteration, got {rate} and {iterations}."
            )
        self.rate, self.iterations = rate, iterations

    def correct(self, x0: Tensor, here: Completion, which: Tensor, strength: float) -> Tensor:
        for _ in range(self.iterations):
            x0 = x0 - strength * self.rate * self.gradient(x0, which)
        return x0


class PosteriorGuidance(GradientGuidance):
    r"""Guidance by a gradient through the prior, with respect to the *noisy* image instead of the clean one.

    The next noisy image is moved by :math:`-\lambda_t\, \eta\, \nabla_{x_t} L(g(x_0(x_t)), y)` with any sampler: the
    clean image is moved by this, divided by its next scale. A step needs a backward pass of the prior, and memory for
    it: with large priors, choose a smaller ``batch_size``.

    Arguments:
        surjection, target: As in :class:`TargetGuidance`.
        rate: :math:`\eta`.
        norm: Whether :math:`L` is the distance :math:`\lVert y - g(x_0) \rVert_2` of each image, as in DPS. Otherwise
            it is the loss of :class:`GradientGuidance`, which is FreeDoM's energy; FreeDoM's code uses
            :math:`\lambda_t = \sqrt{\bar\alpha_t}` (:class:`~spnn.diffusion.SignalStrength`).
        **options: See :class:`TargetGuidance`.

    References:
        Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2023),
        https://arxiv.org/abs/2209.14687
        FreeDoM: Training-Free Energy-Guided Conditional Diffusion Model (Yu et al., 2023),
        https://arxiv.org/abs/2303.09833
    """

    def __init__(self, surjection: Surjection, target: Tensor, *, rate: float = 1.0, norm: bool = True, **options):
        super().__init__(surjection, target, rate=rate, **options)
        self.norm = norm

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the clean images moved by the gradient; see :func:`guide`."""
        strength = self.schedule(level.t)
        if strength == 0:
            return denoise(x)
        found, pull = denoise.vjp(x)
        which = self.unmet(found.mean)
        if len(which) == 0:
            return found
        x0 = found.mean[which]
        gradient = pull(self.gradient(x0, which), which)
        moved = self.kept_in_range(x0, x0 - strength * self.rate / level.next_signal * gradient)
        return found._replace(mean=found.mean.index_copy(0, which, moved.to(x0.dtype)))

    def energy(self, x0: Tensor, which: Tensor) -> Tensor:
        if not self.norm:
            return super().energy(x0, which)
        y = self.surjection(x0)
        return torch.linalg.vector_norm((self.wanted(y.detach(), which) - y).flatten(1), dim=1).sum()
