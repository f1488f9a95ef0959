r"""How well sampled images have the attributes that were asked for.

With :math:`p = \sigma(g(x))` of a held-out image and :math:`\hat p = \sigma(g(\hat x))` of its sample:

- *agreement*: how often :math:`\hat p > 0.5` equals :math:`p > 0.5`;
- *balanced agreement*: the mean of that over the images that have the attribute and over those that don't, as rare
  attributes are mostly right by themselves;
- *MAE*: the mean of :math:`|\hat p - p|`.
"""

import torch
from torch import Tensor

__all__ = ["attribute_metrics"]


def attribute_metrics(probability: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Compare probabilities with the wanted ones.

    Arguments:
        probability: :math:`\\hat p`, [N, K].
        wanted: :math:`p`, [N, K].

    Returns:
        ``agreement``, ``balanced_agreement`` and ``mae``, each [K]. Where no image has an attribute, or all have it,
        its balanced agreement is the agreement over the images that there are.
    """
    has = wanted > 0.5
    agrees = (probability > 0.5) == has
    sides = torch.stack([_mean_where(agrees, has), _mean_where(agrees, ~has)])
    return {
        "agreement": agrees.double().mean(0),
        "balanced_agreement": sides.nanmean(0),
        "mae": (probability - wanted).abs().double().mean(0),
    }


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    return (values & mask).double().sum(0) / mask.double().sum(0)  # NaN where the mask is empty
