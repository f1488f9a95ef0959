"""Confidence intervals by the bootstrap: how much would a mean differ if other images had been drawn?

References:
    Bootstrap Methods: Another Look at the Jackknife (Efron, 1979), https://doi.org/10.1214/aos/1176344552
"""

import torch
from torch import Tensor

from spnn.errors import InputError

__all__ = ["interval", "mean_interval", "ratio_interval", "resample_weights"]

_MIDDLE = ((1 - 0.95) / 2, (1 + 0.95) / 2)


def resample_weights(count: int, resamples: int) -> Tensor:
    """How often each of ``count`` images is drawn when ``count`` are drawn with replacement: [resamples, count].

    Raises:
        InputError: If there is nothing to draw.
    """
    if count < 1 or resamples < 1:
        raise InputError(f"a bootstrap needs images and resamples, got {count} and {resamples}.")
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(0))
    return torch.zeros(resamples, count, dtype=torch.double).scatter_add_(1, drawn, torch.ones(drawn.shape).double())


def interval(statistics: Tensor) -> Tensor:
    """The middle 95 % of a statistic's values over resamplings, [R] -> [2]."""
    return statistics.quantile(torch.tensor(_MIDDLE, dtype=statistics.dtype, device=statistics.device))


def mean_interval(values: Tensor, *, resamples: int = 1000) -> Tensor:
    """Confidence interval of the mean of one value per image, [N] -> [2]."""
    return ratio_interval(values, torch.ones_like(values), resamples=resamples)


def ratio_interval(sums: Tensor, counts: Tensor, *, resamples: int = 1000) -> Tensor:
    """Confidence interval of the mean of several values per image, given their sums and counts, [N] -> [2]."""
    weights = resample_weights(len(sums), resamples).to(sums.device)
    return interval((weights @ sums.double()) / (weights @ counts.double()))
