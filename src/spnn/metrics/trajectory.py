r"""How the constraint is met on the way: :math:`|g(\hat x_0) - y|` at each step of sampling."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["ConstraintViolation"]


class ConstraintViolation(Metric):
    r"""The mean :math:`|g(\hat x_0) - y|` over samples and coordinates, at each step that is looked at.

    ``update(outputs, wanted)`` takes :math:`g(\hat x_0)` at S steps, [B, S, ...], and the targets, [B, ...];
    ``compute`` returns [S].

    Arguments:
        steps: S.
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self, steps: int):
        super().__init__()
        self.add_state("total", torch.zeros(steps, dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, wanted: Tensor) -> None:
        self.total += (outputs - wanted[:, None]).abs().flatten(2).mean(2).double().sum(0)
        self.count += len(wanted)

    def compute(self) -> Tensor:
        return self.total / self.count
