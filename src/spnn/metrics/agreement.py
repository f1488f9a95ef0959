r"""How well sampled images show what was asked for.

:math:`p` denotes the decoded outputs of a held-out image (for logits, :math:`p = \sigma(g(x))`), and :math:`\hat p`
those of its sample:

- *agreement*: how often the two agree; for logits, whether :math:`\hat p > 0.5` and :math:`p > 0.5` are the same;
- *balanced agreement*: the mean of the agreement over images that have a label and that over images that don't,
  because rare labels are mostly right by default; for classes, the mean over the images of each class;
- *MAE*: the mean of the readout's error; for logits, :math:`|\hat p - p|`.

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
    """Compare samples with what is wanted.

    Arguments:
        found: :math:`\\hat p`, the decoded outputs of samples, [N, K].
        wanted: :math:`p`, [N, K]; or labels.
        weights: How often each image counts in each of R resamplings, [R, N]; None: each counts once.
        readout: What the outputs mean, see :mod:`spnn.readout`.

    Returns:
        ``agreement``, ``mae`` and, if the readout has groups, ``balanced_agreement``, each [K], or [R, K] with weights.
        If no image has a label, or all have it, its balanced agreement is the plain agreement; for a class that no
        image has, it is NaN.

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
        # If a resampling has no such image, use the mean over all images; NaN if none of them is such an image either.
        return torch.where(of_each.isnan(), of_all, of_each)

    metrics = {"agreement": mean(agrees)}
    if groups := readout.groups(wanted):
        metrics["balanced_agreement"] = torch.stack([mean(agrees, group) for group in groups]).nanmean(0)
    metrics["mae"] = mean(readout.error(found, wanted))
    return metrics if weights is not None else {name: values[0] for name, values in metrics.items()}


def agreement_intervals(
    found: Tensor, wanted: Tensor, *, resamples: int = 1000, readout: Readout = LOGITS
) -> dict[str, Tensor]:
    """Return the results of :func:`agreement`, [K] each, and for each name ``<name>_interval``, [2]: the range of the
    mean over coordinates in the middle 95 % of ``resamples`` sets of equally many images, drawn from the given ones
    with replacement. Images are resampled, not coordinates, because the coordinates of one image depend on each other.
    """
    metrics = agreement(found, wanted, readout=readout)
    resampled = agreement(found, wanted, resample_weights(len(wanted), resamples), readout)
    return metrics | {f"{name}_interval": interval(values.nanmean(1)) for name, values in resampled.items()}
