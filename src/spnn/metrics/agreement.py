r"""How well sampled images have the attributes that were asked for.

With :math:`p = \sigma(g(x))` of a held-out image and :math:`\hat p = \sigma(g(\hat x))` of its sample:

- *agreement*: how often :math:`\hat p > 0.5` equals :math:`p > 0.5`;
- *balanced agreement*: the mean of that over the images that have the attribute and over those that don't, as rare
  attributes are mostly right by themselves;
- *MAE*: the mean of :math:`|\hat p - p|`.

References:
    Pseudo-Invertible Neural Networks (Ehrlich, Berman, Shocher, 2026), https://arxiv.org/abs/2602.06042 (the first and
    the last)
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from spnn.errors import InputError
from spnn.metrics.bootstrap import interval, resample_weights

__all__ = ["AttributeAgreement", "attribute_metrics"]


def attribute_metrics(probability: Tensor, wanted: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
    """Compare probabilities with the wanted ones.

    Arguments:
        probability: :math:`\\hat p`, [N, K].
        wanted: :math:`p`, [N, K]; or labels, 0 or 1.
        weights: How often each image counts, in each of R resamplings, [R, N]; None: once, in one.

    Returns:
        ``agreement``, ``balanced_agreement`` and ``mae``, each [K], or [R, K] with weights. Where no image has an
        attribute, or all have it, its balanced agreement is the agreement over the images that there are.
    """
    once = torch.ones(1, len(wanted), dtype=torch.double, device=wanted.device)
    weights_ = once if weights is None else weights.to(once)
    has = wanted > 0.5
    agrees = (probability > 0.5) == has

    def mean(values: Tensor, among: Tensor | None = None) -> Tensor:
        among = torch.ones_like(has) if among is None else among
        return weights_ @ (values * among).double() / (weights_ @ among.double())  # NaN where it is among none

    metrics = {
        "agreement": mean(agrees),
        "balanced_agreement": torch.stack([mean(agrees, has), mean(agrees, ~has)]).nanmean(0),
        "mae": mean((probability - wanted).abs()),
    }
    return metrics if weights is not None else {name: values[0] for name, values in metrics.items()}


class AttributeAgreement(Metric):
    r"""Agreement, balanced agreement and MAE of each attribute, and confidence intervals of their means.

    ``update(probability, wanted)`` takes probabilities in [0, 1], both [B, K]; ``compute`` returns what
    :func:`attribute_metrics` does, [K] each, and for each name ``<name>_interval``, [2]: within these lies the mean
    over attributes for the middle 95 % of sets of as many images, drawn from these with replacement. Images are drawn,
    not attributes: those of one image depend on each other.

    Arguments:
        resamples: Sets of images drawn.
        level: Share of the sets that lies within.
        seed: Of the draws.
    """

    full_state_update = False
    higher_is_better = True
    probability: list[Tensor]
    wanted: list[Tensor]

    def __init__(self, *, resamples: int = 1000, level: float = 0.95, seed: int = 0):
        super().__init__()
        self.resamples, self.level, self.seed = resamples, level, seed
        self.add_state("probability", [], dist_reduce_fx="cat")
        self.add_state("wanted", [], dist_reduce_fx="cat")

    def update(self, probability: Tensor, wanted: Tensor) -> None:
        if probability.shape != wanted.shape or wanted.ndim != 2:
            raise InputError(
                f"agreement compares probabilities [B, K] with wanted ones of the same shape, got "
                f"{tuple(probability.shape)} and {tuple(wanted.shape)}."
            )
        self.probability.append(probability)
        self.wanted.append(wanted)

    def compute(self) -> dict[str, Tensor]:
        probability, wanted = dim_zero_cat(self.probability), dim_zero_cat(self.wanted)
        metrics = attribute_metrics(probability, wanted)
        weights = resample_weights(len(wanted), self.resamples, self.seed)
        resampled = attribute_metrics(probability, wanted, weights)
        intervals = {f"{name}_interval": interval(values.mean(1), self.level) for name, values in resampled.items()}
        return metrics | intervals
