"""Learning-rate schedules, as functions ``(optimizer, total_steps) -> schedule`` that a config can name."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

__all__ = ["one_cycle", "warmup_constant_linear"]


def one_cycle(optimizer: Optimizer, total_steps: int, warmup: float = 0.3) -> LRScheduler:
    """Up to the optimiser's rate for the fraction ``warmup`` of the steps, then down to nearly zero, along cosines."""
    return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps, pct_start=warmup)


def warmup_constant_linear(
    optimizer: Optimizer, total_steps: int, warmup_steps: int = 200, constant: float = 0.4
) -> LRScheduler:
    """The published schedule: a linear warm-up, constant until ``constant`` of the steps, then linear to zero."""
    warmup_steps = min(warmup_steps, total_steps)
    decay_from = max(warmup_steps, round(constant * total_steps))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return min(1.0, max(0.0, (total_steps - step) / max(1, total_steps - decay_from)))

    return LambdaLR(optimizer, factor)
