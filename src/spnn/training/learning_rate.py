"""Learning-rate schedules, as functions ``(optimizer, total_steps) -> schedule`` that a config can name."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["warmup_constant_linear", "warmup_cosine"]


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.2) -> LambdaLR:
    """Rise linearly to the full rate over the fraction ``warmup`` of the steps, then fall to zero as a cosine."""
    warmup_steps = max(1, round(warmup * total_steps))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return (1 + math.cos(math.pi * min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))) / 2

    return LambdaLR(optimizer, factor)


def warmup_constant_linear(
    optimizer: Optimizer, total_steps: int, warmup_steps: int = 200, constant: float = 0.4
) -> LambdaLR:
    """The published schedule: linear warm-up, constant until the fraction ``constant`` of the steps, linear to zero."""
    warmup_steps = min(warmup_steps, total_steps)
    decay_from = max(warmup_steps, round(constant * total_steps))

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return min(1.0, max(0.0, (total_steps - step) / max(1, total_steps - decay_from)))

    return LambdaLR(optimizer, factor)
