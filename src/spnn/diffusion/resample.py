r"""Hard data consistency, as in ReSample: the clean image descends until it meets its target, then gets new noise.

If :math:`x_s'` is the result of a step without guidance, and :math:`x_0'` that of the descent, the next noisy image is
drawn from the product of :math:`N(x_s', \nu I)` and :math:`N(\sqrt{\bar\alpha_s}\, x_0', (1 - \bar\alpha_s) I)`, with

.. math:: \nu = \gamma\, \frac{1 - \bar\alpha_s}{\bar\alpha_t} \Big(1 - \frac{\bar\alpha_t}{\bar\alpha_s}\Big).

References:
    Solving Inverse Problems with Latent Diffusion Models via Hard Data Consistency (Song et al., 2024),
    https://arxiv.org/abs/2307.08123
"""

from torch import Tensor

from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.gradient import GradientGuidance
from spnn.diffusion.guidance import Level
from spnn.errors import InputError
from spnn.surjection import Surjection

__all__ = ["HardConsistency"]


class HardConsistency(GradientGuidance):
    r"""Guidance by a long descent at each step with :math:`\lambda_t > 0`, on images and without a projection.

    The sampler should be deterministic (``sampler=ddim``), so that all noise comes from the product above.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`.
        resampling: :math:`\gamma`; the larger it is, the less remains of the step without guidance.
        **options: See :class:`~spnn.diffusion.GradientGuidance`; ``iterations`` limits the length of the descent, and
            ``stop`` is its tolerance, checked before each of its steps.

    Raises:
        InputError: If :math:`\gamma` is negative.
    """

    def __init__(self, surjection: Surjection, target: Tensor, *, resampling: float = 40.0, **options):
        super().__init__(surjection, target, **options)
        if not resampling >= 0:
            raise InputError(f"guidance.resampling must be at least 0, got {resampling}.")
        self.resampling = resampling

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return clean images and noise that together are a draw from the product; see
        :func:`~spnn.diffusion.guidance.guide`."""
        found, strength = denoise(x), self.schedule(level.t)
        if strength == 0:
            return found
        x0 = found.mean.float()
        moved = self.kept_in_range(x0, self.descended(x0, strength))
        ratio = self.resampling * (1 - (level.signal / level.next_signal) ** 2) / level.signal**2
        # ν / (ν + 1 - ᾱ_s); the last image meets its target
        share = 1.0 if level.next_signal == 1 else ratio / (1 + ratio)
        noise = (1 - share) * found.noise + share**0.5 * denoise.noise()
        return Denoised((x0 + share * (moved - x0)).to(x.dtype), noise)

    def descended(self, x0: Tensor, strength: float) -> Tensor:
        """Move each clean image towards its target until the stop rule leaves it alone."""
        for _ in range(self.iterations):
            which = self.unmet(x0)
            if len(which) == 0:
                break
            x0 = x0.index_add(0, which, self.gradient(x0[which], which), alpha=-strength * self.rate)
        return x0
