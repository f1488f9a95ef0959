r"""Classifier guidance: uses a classifier trained on noisy images, instead of ``g`` on the predicted clean image.

The classifier's gradient is the score of the targets,
:math:`\nabla_{x_t} \log p(y | x_t) = -\nabla_{x_t} L(c(x_t), y)`, and is added to the prior's score: the predicted
noise moves by :math:`\lambda_t\, s\, \sigma_t \nabla_{x_t} L`, and the clean image moves with it.

References:
    Diffusion Models Beat GANs on Image Synthesis (Dhariwal and Nichol, 2021), https://arxiv.org/abs/2105.05233
"""

from torch import Tensor, nn

from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.guidance import Level, TargetGuidance
from spnn.errors import InputError
from spnn.surjection import Surjection

__all__ = ["ClassifierGuidance"]


class ClassifierGuidance(TargetGuidance):
    r"""Guidance by the gradient of a classifier of the noisy image. ``g`` is only used by the stop rule.

    Arguments:
        surjection, target: As in :class:`~spnn.diffusion.TargetGuidance`.
        classifier: Maps noisy images :math:`x_t` to outputs [B, K] for the same labels as ``g``'s, and has their
            ``names``; for example :func:`spnn.runs.noisy_judge_of` of a run with ``stage@stage.judge=judge_noisy``.
        rate: :math:`s`; 1 gives the score of the targets.
        **options: See :class:`~spnn.diffusion.TargetGuidance`.

    Raises:
        InputError: If the rate is not positive, or the classifier is for other labels than the readout's.
    """

    def __init__(self, surjection: Surjection, target: Tensor, *, classifier: nn.Module, rate: float = 1.0, **options):
        super().__init__(surjection, target, **options)
        if not rate > 0:
            raise InputError(f"guidance.rate must be positive, got {rate}.")
        if not self.readout.names:
            raise InputError("guidance=classifier is for labels, which a degradation doesn't have: choose another.")
        if (names := getattr(classifier, "names", self.readout.names)) != self.readout.names:
            raise InputError(
                f"the classifier is for {len(names)} labels ({', '.join(names[:3])} ...), but the targets are "
                f"{len(self.readout.names)} outputs ({', '.join(self.readout.names[:3])} ...): guidance.classifier.run "
                "must be trained on the labels of the operator, in their order."
            )
        self.classifier, self.rate = classifier.to(target.device), rate

    def guide(self, denoise: Denoiser, x: Tensor, level: Level) -> Denoised:
        """Return the moved clean images and the moved noise; see :func:`~spnn.diffusion.guidance.guide`."""
        found, strength = denoise(x), self.schedule(level.t)
        if strength == 0:
            return found
        which = self.unmet(found.mean)
        if len(which) == 0:
            return found
        x0, gradient = found.mean[which], self.gradient(x[which], which)
        moved = self.kept_in_range(x0, x0 - strength * self.rate * level.sigma**2 / level.signal * gradient)
        mean = found.mean.index_copy(0, which, moved.to(x0.dtype))
        return Denoised.of_mean(x, mean, level.signal, level.sigma)

    def energy(self, x: Tensor, which: Tensor) -> Tensor:
        """How far the classifier's outputs for some noisy images are from their targets, summed up."""
        y = self.classifier(x)
        return self.readout.energy(y, self.wanted(y.detach(), which))
