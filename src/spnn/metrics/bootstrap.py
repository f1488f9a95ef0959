"""Confidence intervals by the bootstrap: how much would a mean differ, had other images been drawn?

References:
    Bootstrap Methods: Another Look at the Jackknife (Efron, 1979), https://doi.org/10.1214/aos/1176344552
"""

import torch
from torch import Tensor

from spnn.errors import InputError

__all__ = ["interval", "mean_interval", "ratio_interval", "resample_weights"]


def resample_weights(count: int, resamples: int, seed: int = 0) -> Tensor:
    """How often each of ``count`` images is drawn, when as many are drawn with replacement: [resamples, count].

    Raises:
        InputError: If there is nothing to draw.
    """
    if count < 1 or resamples < 1:
        raise InputError(f"a bootstrap needs images and resamples, got {count} and {resamples}.")
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(resamples, count, dtype=torch.double).scatter_add_(1, drawn, torch.ones(drawn.shape).double())


def interval(statistics: Tensor, level: float = 0.95) -> Tensor:
    """The middle ``level`` of a statistic's values over resamplings, [R] -> [2]."""
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=statistics.dtype, device=statistics.device)
    return statistics.quantile(tails)


def mean_interval(values: Tensor, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Tensor:
    """Confidence interval of the mean of one value per image, [N] -> [2]."""
    weights = resample_weights(len(values), resamples, seed).to(values.device)
    return interval(weights @ values.double() / len(values), level)


def ratio_interval(
    sums: Tensor, counts: Tensor, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Tensor:
    """Confidence interval of the mean of several values per image, whose sums and numbers are given, [N] -> [2]."""
    weights = resample_weights(len(sums), resamples, seed).to(sums.device)
    return interval((weights @ sums.double()) / (weights @ counts.double()), level)
