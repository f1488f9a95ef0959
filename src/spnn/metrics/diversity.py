"""How much the samples of one target differ."""

import torch
from torch import Tensor
from torchmetrics import Metric

from spnn.errors import InputError

__all__ = ["Diversity"]


class Diversity(Metric):
    """The root mean square difference of pixels, averaged over all pairs of samples of one target, then over targets.

    ``update(samples)`` takes n samples of each of B targets, [B, n, C, H, W] in [-1, 1], n at least 2; ``compute``
    returns a number: 0 where all samples of a target are the same.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, samples: Tensor) -> None:
        count, per_target = samples.shape[:2]
        if per_target < 2:
            raise InputError(f"diversity needs at least two samples of each target, got {per_target}.")
        flat = samples.flatten(2)
        squares = (flat[:, :, None] - flat[:, None]).square().mean(-1)  # [B, n, n]
        first, second = torch.triu_indices(per_target, per_target, offset=1, device=samples.device)
        self.total += squares[:, first, second].sqrt().mean(1).double().sum()
        self.count += count

    def compute(self) -> Tensor:
        return self.total / self.count
