"""What a guided sampler costs: how often it asks the prior, how often for a gradient through it, and what is kept for
that."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook, saved_tensors_hooks

from spnn.diffusion.guidance import Guidance
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.sampling.models import Models

__all__ = ["Effort", "effort"]


@dataclass
class Effort:
    """Of a sample: evaluations of the prior, gradients through it, and the most memory that it keeps for these at once,
    besides its weights, in MiB."""

    evaluations: int = 0
    gradients: int = 0
    kept_mib: float = 0.0


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

    ledger = _Ledger({weight.untyped_storage().data_ptr() for weight in prior.parameters()})
    handles = [
        prior.register_forward_pre_hook(lambda *_: ledger.hooks.__enter__()),
        prior.register_forward_hook(lambda *_: ledger.hooks.__exit__(), always_call=True),
        prior.register_forward_hook(asked),
    ]
    try:
        yield found
    finally:
        found.kept_mib = ledger.most / 2**20
        for handle in handles:
            handle.remove()


class _Ledger:
    """Bytes of tensors that autograd keeps, each storage once, but for some.

    Arguments:
        free: Addresses of those that don't count.
    """

    def __init__(self, free: set[int]):
        self.free, self.kept, self.now, self.most = free, Counter(), 0, 0
        self.hooks = saved_tensors_hooks(lambda tensor: _Kept(self, tensor), lambda kept: kept.tensor)

    def change(self, tensor: Tensor, by: int) -> None:
        storage = tensor.untyped_storage()
        if (place := storage.data_ptr()) in self.free:
            return
        before = self.kept[place]
        self.kept[place] += by
        if 0 in (before, before + by):
            self.now += by * storage.nbytes()
            self.most = max(self.most, self.now)


class _Kept:
    """A tensor, as long as autograd keeps it."""

    def __init__(self, ledger: _Ledger, tensor: Tensor):
        self.ledger, self.tensor = ledger, tensor
        ledger.change(tensor, 1)

    def __del__(self) -> None:
        self.ledger.change(self.tensor, -1)
