"""The cost of a guided sampler: evaluations of the prior, gradients through it, and the memory kept for these."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import register_multi_grad_hook, saved_tensors_hooks

from spnn.diffusion.denoiser import Denoised, ImagePrior
from spnn.diffusion.guidance import Guidance
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.sampling.models import Models, need_operator

__all__ = ["Effort", "effort"]


@dataclass
class Effort:
    """The cost of a sample: evaluations of the prior, gradients through it, and the memory in MiB, without the weights,
    that an evaluation keeps for its gradient; 0 if no gradient is taken."""

    evaluations: int = 0
    gradients: int = 0
    kept_mib: float = 0.0


def effort(models: Models, sampler: Sampler, guidance: Callable[..., Guidance | None], y: Tensor) -> Effort:
    """Count the cost of an image for a target ``y`` [1, ...], drawn with a stand-in prior that costs nothing."""
    prior = models.prior.cpu()
    core = prior.prior if isinstance(prior, LatentPrior) else prior
    counted = _Counted(core)
    cheap = LatentPrior(counted, prior.codec, prior.image_shape) if isinstance(prior, LatentPrior) else counted
    made = guidance(need_operator(models).cpu(), y, free=None, readout=models.readout)
    sampler(cheap, ImageNoise([0], core.image_shape), made)
    if counted.found.gradients:
        counted.found.kept_mib = _kept_bytes(core) / 2**20
    return counted.found


class _Counted(ImagePrior):
    """A stand-in prior that halves images, and counts its evaluations and the gradients through it."""

    def __init__(self, prior: ImagePrior):
        super().__init__()
        self.image_shape, self.schedule, self.found = prior.image_shape, prior.schedule, Effort()

    def forward(self, x: Tensor, t: Tensor) -> Denoised:
        self.found.evaluations += 1
        found = Denoised(x / 2, x / 2)
        if x.requires_grad:
            register_multi_grad_hook(found, self._differentiated, mode="any")
        return found

    def _differentiated(self, _: Tensor) -> None:
        self.found.gradients += 1


def _kept_bytes(prior: ImagePrior) -> int:
    """The bytes that autograd keeps for an evaluation, without the weights; each storage is counted once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.zeros(1, *prior.image_shape, requires_grad=True)
    with torch.enable_grad(), saved_tensors_hooks(pack, lambda tensor: tensor):
        found = prior(x, torch.zeros(1, dtype=torch.long))  # while this is alive, no address is reused
    for weight in prior.parameters():
        kept.pop(weight.untyped_storage().data_ptr(), None)
    del found
    return sum(kept.values())
