"""Guidance by gradients: of the predicted clean image, or through the prior of the noisy one."""

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

    ``iterations`` times, :math:`x_0 \leftarrow x_0 - \lambda_t\, \eta\, \nabla_{x_0} L(g(x_0), y)`. Of logits,
    :math:`L` is the cross-entropy of their probabilities, :math:`\sum_k \mathrm{KL}(\sigma(y_k) \| \sigma(g_k(x_0)))`;
    of values it is half the squared distance, so that for a linear ``g`` with orthonormal rows and one iteration the
    rule is back-projection of strength :math:`\lambda_t \eta`.

    Arguments:
        surjection, target: As in :class:`TargetGuidance`.
        rate: :math:`\eta`.
        iterations: Steps of gradient descent at each step of sampling.
        **options: See :class:`TargetGuidance`.

    References:
        Diffusion Posterior Sampling for General Noisy Inverse Problems (Chung et al., 2023),
        https://arxiv.org/abs/2209.14687 (which differentiates through the prior, too)
    """

    def __init__(self, surjection: Surjection, target: Tensor, *, rate: float = 1.0, iterations: int = 1, **options):
        super().__init__(surjection, target, **options)
        if not 0 < rate < math.inf or iterations < 1:
            raise InputError(
                f"a descent needs a positive rate and at least one iteration, got {rate} and {iterations}."
            )
        self.rate, self.iterations = rate, iterations

    def correct(self, x0: Tensor, here: Completion, which: Tensor, strength: float) -> Tensor:
        wanted = self.wanted(here.y, which)
        for _ in range(self.iterations):
            with torch.enable_grad():
                x = x0.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(self._loss(self.surjection(x), wanted), x)
            x0 = x0 - strength * self.rate * gradient
        return x0

    def _loss(self, y: Tensor, wanted: Tensor) -> Tensor:
        """The batch's losses, added up: an image's gradient does not depend on its batch."""
        return self.readout.energy(y, wanted)


class PosteriorGuidance(GradientGuidance):
    r"""Guidance by a gradient through the prior: what of the *noisy* image makes its clean image miss the target.

    The next noisy image is moved by :math:`-\lambda_t\, \eta\, \nabla_{x_t} L(g(x_0(x_t)), y)`, whatever the sampler:
    the clean image by that over its next scale. A step costs the prior's backward pass, and memory for it: with large
    priors choose a smaller ``batch_size``.

    Arguments:
        surjection, target: As in :class:`TargetGuidance`.
        rate: :math:`\eta`.
        norm: Whether :math:`L` is the distance :math:`\lVert y - g(x_0) \rVert_2` of each image, as in DPS; otherwise
            it is that of :class:`GradientGuidance`, as in FreeDoM.
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
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            found = denoise(x)
            with torch.autocast(x.device.type, enabled=False):
                y = self.surjection(found.mean.float())
                which = self.far(y.detach(), self.stop)
                loss = self._loss(y[which], self.wanted(y.detach()[which], which))
            (gradient,) = torch.autograd.grad(loss, x)
        mean, noise = (part.detach() for part in found)
        moved = mean[which] - strength * self.rate / level.next_signal * gradient[which]
        moved = self.kept_in_range(mean[which], moved)
        return Denoised(torch.index_copy(mean, 0, which, moved.to(mean.dtype)), noise)

    def _loss(self, y: Tensor, wanted: Tensor) -> Tensor:
        return torch.linalg.vector_norm((wanted - y).flatten(1), dim=1).sum() if self.norm else super()._loss(y, wanted)
