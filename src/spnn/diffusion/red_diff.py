r"""RED-diff: optimises one image, with the prior at each level of noise as the regularizer.

Adam minimises, over the image :math:`\mu`,

.. math::
    \lambda_t\, L(g(\mu), y) + w \frac{\sigma_t}{a_t} \big\langle \hat\varepsilon(x_t) - \varepsilon, \mu \big\rangle,
    \qquad x_t = a_t \mu + \sigma_t \varepsilon,

where :math:`\hat\varepsilon`, the noise that the prior predicts, counts as a constant. Because it is related to the
prior's clean image :math:`x_0` by :math:`x_t = a_t x_0 + \sigma_t \hat\varepsilon`, the gradient of the second term is
:math:`w (\mu - x_0)`.

References:
    A Variational Perspective on Solving Inverse Problems with Diffusion Models (Mardani et al., 2024),
    https://arxiv.org/abs/2305.04391
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.guidance import Level, TargetGuidance
from spnn.errors import InputError
from spnn.surjection import Surjection

__all__ = ["RedDiff"]


class RedDiff(TargetGuidance):
    r"""Guidance that keeps one image through all steps, and adds new noise to it at each step.

    It starts from the prior's clean image of the first step, so sampling may also start from a given image. During time
    travel, the image continues from where it is.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`; an image that the stop rule leaves alone
            follows only the prior.
        rate: Adam's learning rate: about a pixel's longest move in a step.
        weight: :math:`w`, the weight of the prior.
        **options: See :class:`~spnn.diffusion.TargetGuidance`.

    Raises:
        InputError: If a number is out of range.
    """

    fresh_noise = True

    def __init__(self, surjection: Surjection, target: Tensor, *, rate: float = 0.1, weight: float = 0.25, **options):
        super().__init__(surjection, target, **options)
        if not (0 < rate < math.inf and weight >= 0):
            raise InputError(f"guidance.rate must be positive and guidance.weight at least 0, got {rate} and {weight}.")
        self.rate, self.weight = rate, weight
        # The source of noise, which tells one sampling run from the next.
        self.sampling: Callable[[], Tensor] | None = None

    @torch.no_grad()
    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the image after one step of Adam; see :func:`~spnn.diffusion.guidance.guide`."""
        found = denoise(x)
        if self.sampling is not denoise.noise:
            self.sampling, self.image = denoise.noise, found.mean.float().clone()
            self.descent = torch.optim.Adam([self.image], lr=self.rate, betas=(0.9, 0.99))
        before, strength = self.image.clone(), self.schedule(level.t)
        self.image.grad = self.weight * (before - found.mean)
        which = self.unmet(before)
        if strength > 0 and len(which):
            self.image.grad.index_add_(0, which, strength * self.gradient(before[which], which))
        self.descent.step()
        self.image.copy_(self.kept_in_range(before, self.image))
        if level.next_signal == 1:  # the last step: the next call starts from scratch
            self.sampling = None
        return found._replace(mean=self.image.to(x.dtype, copy=True))
