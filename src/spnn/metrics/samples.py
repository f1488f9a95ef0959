"""All that one table row says of a set of samples."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from spnn.metrics.agreement import attribute_metrics

__all__ = ["agreement_with", "measurement_metrics", "pixel_metrics"]


def agreement_with(
    y: Tensor, wanted: Tensor, free: Tensor | None = None, edited: Tensor | None = None
) -> Mapping[str, float]:
    """Means over attributes of how samples agree with what is wanted.

    Arguments:
        y: Logits of the samples, [N, K].
        wanted: Wanted logits, [N, K].
        free: Attributes that don't count, [K].
        edited: Attributes that were set by name, [K]; ``edit_success`` is the agreement on these.
    """
    metrics = attribute_metrics(y.sigmoid(), wanted.sigmoid())
    counts = torch.ones(y.shape[1], dtype=torch.bool) if free is None else ~free
    means = {name: values[counts].mean().item() for name, values in metrics.items()}
    return means if edited is None else means | {"edit_success": metrics["agreement"][edited].mean().item()}


def measurement_metrics(y: Tensor, wanted: Tensor, x: Tensor, clean: Tensor | None) -> Mapping[str, float]:
    """How samples ``x`` [N, C, H, W], whose outputs are ``y``, meet the measurement and the clean images, if known.

    Returns:
        ``gap``, the mean |y - wanted|, and ``psnr`` in dB, the mean over the images.
    """
    metrics = {"gap": (y - wanted).abs().mean().item()}
    if clean is not None:
        error = (x.clamp(-1, 1) - clean).square().flatten(1).mean(1) / 4  # the pixels' range is 2
        metrics["psnr"] = (-10 * error.clamp(min=1e-12).log10()).mean().item()
    return metrics


def pixel_metrics(x: Tensor) -> Mapping[str, float]:
    """Whether all pixels are finite, and the largest."""
    largest = x.abs().max().item()
    return {"finite": float(math.isfinite(largest)), "largest_pixel": largest}
