r"""How well sampled images show what was asked for.

With the decoded outputs :math:`p` of a held-out image and :math:`\hat p` of its sample, of logits
:math:`p = \sigma(g(x))`:

- *agreement*: how often they say the same, of logits :math:`\hat p > 0.5` and :math:`p > 0.5`;
- *balanced agreement*: the mean of that over the images that have a label and over those that don't, as rare
  labels are mostly right by themselves; of classes, over the images of each class;
- *MAE*: the mean of the readout's error, of logits :math:`|\hat p - p|`.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042 (the first and
    the last)
"""

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.metrics.bootstrap import interval, resample_weights
from spnn.readout import LOGITS, Readout

__all__ = ["agreement", "agreement_intervals"]


def agreement(
    found: Tensor, wanted: Tensor, weights: Tensor | None = None, readout: Readout = LOGITS
) -> dict[str, Tensor]:
    """Compare what samples show with what is wanted.

    Arguments:
        found: :math:`\\hat p`, decoded outputs, [N, K].
        wanted: :math:`p`, [N, K]; or labels.
        weights: How often each image counts, in each of R resamplings, [R, N]; None: once, in one.
        readout: What the outputs say, see :mod:`spnn.readout`.

    Returns:
        ``agreement``, ``mae`` and, of a readout with groups, ``balanced_agreement``, each [K], or [R, K] with weights.
        Where no image has a label, or all have it, its balanced agreement is the agreement over the images that
        there are; of a class that no image has, it is NaN.

    Raises:
        InputError: If the shapes differ.
    """
    if found.shape != wanted.shape or wanted.ndim != 2:
        raise InputError(
            f"agreement compares decoded outputs [N, K] with wanted ones of the same shape, got "
            f"{tuple(found.shape)} and {tuple(wanted.shape)}."
        )
    once = torch.ones(1, len(wanted), dtype=torch.double, device=wanted.device)
    weights_ = once if weights is None else weights.to(once)
    agrees, known = readout.agrees(found, wanted) & found.isfinite(), readout.known(wanted)  # NaN says nothing

    def mean(values: Tensor, among: Tensor | None = None) -> Tensor:
        among = known if among is None else among & known
        of_all, of_each = (w @ (values * among).double() / (w @ among.double()) for w in (once, weights_))
        # A resampling without any such image says nothing of them: what all images say, if these have any; else NaN.
        return torch.where(of_each.isnan(), of_all, of_each)

    metrics = {"agreement": mean(agrees)}
    if groups := readout.groups(wanted):
        metrics["balanced_agreement"] = torch.stack([mean(agrees, group) for group in groups]).nanmean(0)
    metrics["mae"] = mean(readout.error(found, wanted))
    return metrics if weights is not None else {name: values[0] for name, values in metrics.items()}


def agreement_intervals(
    found: Tensor, wanted: Tensor, *, resamples: int = 1000, readout: Readout = LOGITS
) -> dict[str, Tensor]:
    """What :func:`agreement` returns, [K] each, and for each name ``<name>_interval``, [2]: within it lies the mean
    over coordinates for the middle 95 % of ``resamples`` sets of as many images, drawn from these with replacement.
    Images are drawn, not coordinates: those of one image depend on each other.
    """
    metrics = agreement(found, wanted, readout=readout)
    resampled = agreement(found, wanted, resample_weights(len(wanted), resamples), readout)
    return metrics | {f"{name}_interval": interval(values.nanmean(1)) for name, values in resampled.items()}
