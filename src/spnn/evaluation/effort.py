"""What a guided sampler costs: how often it asks the prior, and how often for a gradient through it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from spnn.diffusion.guidance import Guidance
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.sampling.models import Models

__all__ = ["Effort", "effort"]


@dataclass
class Effort:
    """Of a sample: evaluations of the prior, and gradients through it."""

    evaluations: int = 0
    gradients: int = 0


def effort(models: Models, sampler: Sampler, guidance: Callable[..., Guidance | None], y: Tensor) -> Effort:
    """Draw an image for a target ``y`` [1, K], and count what that takes."""
    prior = models.prior.cpu()
    made = guidance(models.operator.cpu(), y, free=None, readout=models.readout)
    with _counted(prior) as found:
        sampler(prior, ImageNoise([0], getattr(prior, "noise_shape", prior.image_shape)), made)
    return found


@contextmanager
def _counted(prior: nn.Module) -> Iterator[Effort]:
    found = Effort()

    def differentiated(_: object) -> None:
        found.gradients += 1

    def asked(_: nn.Module, __: tuple, output: tuple[Tensor, ...]) -> None:
        found.evaluations += 1
        if traced := [part for part in output if part.requires_grad]:
            register_multi_grad_hook(traced, differentiated, mode="any")

    handle = prior.register_forward_hook(asked)
    try:
        yield found
    finally:
        handle.remove()
