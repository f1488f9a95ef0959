"""The numbers that a table row shows for a set of samples."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from spnn.errors import InputError
from spnn.metrics.agreement import agreement
from spnn.metrics.features import perceptual
from spnn.metrics.wholeness import fine_energy, saturated
from spnn.readout import LOGITS, Readout
from spnn.settings import working_device

__all__ = ["agreement_with", "constraint_violation", "diversity", "measurement_metrics", "pixel_metrics", "psnr"]

_SSIM_REACH = 5  # how far SSIM's window reaches to each side, in pixels
_LPIPS_LEAST = 64  # smallest side in pixels that AlexNet's strides can handle
_WINDOW = 16  # images at a time: SSIM takes sixty times the memory of the images it compares


def agreement_with(
    y: Tensor,
    wanted: Tensor,
    free: Tensor | None = None,
    edited: Tensor | None = None,
    readout: Readout = LOGITS,
) -> Mapping[str, float]:
    """How well samples agree with what is wanted, averaged over coordinates.

    Arguments:
        y: Outputs of the samples, [N, K].
        wanted: Wanted outputs, [N, K].
        free: Coordinates that don't count, [K].
        edited: Coordinates that were set by name, [K]; ``edit_success`` is the share of samples in which all of them
            are as wanted.
        readout: What the outputs mean.
    """
    metrics = agreement(readout.decode(y), readout.decode(wanted), readout=readout)
    counts = torch.ones(y.shape[1], dtype=torch.bool) if free is None else ~free
    means = {name: values[counts].nanmean().item() for name, values in metrics.items()}
    if edited is not None:
        right = readout.agrees(readout.decode(y), readout.decode(wanted))[:, edited]
        means["edit_success"] = right.all(1).double().mean().item()
    return means


def measurement_metrics(
    y: Tensor, wanted: Tensor, x: Tensor, clean: Tensor | None, *, download: bool = False
) -> Mapping[str, float]:
    """How well samples ``x`` with outputs ``y`` match the measurement and, if they are known, the clean images.

    Arguments:
        y: Outputs of the samples, [N, ...].
        wanted: The measurement, [N, ...].
        x: The samples, [N, C, H, W] in [-1, 1].
        clean: The clean images, [N, C, H, W]; None if they aren't known.
        download: Whether LPIPS may download its network.

    Returns:
        ``gap``, the mean |y - wanted|; and, averaged over the images, ``psnr`` in dB (at most 120), ``ssim`` and
        ``lpips``, the latter two only if the images are large enough and, for LPIPS, if its network can be loaded.
    """
    metrics = {"gap": (y - wanted).abs().mean().item()}
    if clean is None:
        return metrics
    smallest, device = min(x.shape[-2:]), working_device()
    of_each: dict[str, list[Tensor]] = {"psnr": [], "ssim": []}
    lpips = perceptual(download=download) if smallest >= _LPIPS_LEAST else None
    for some, of in zip(x.split(_WINDOW), clean.split(_WINDOW), strict=True):
        some = some.clamp(-1, 1)
        of_each["psnr"].append(psnr(some, of))
        if smallest > _SSIM_REACH:
            ssim = structural_similarity_index_measure(some, of, data_range=2.0, reduction="none")
            assert isinstance(ssim, Tensor)  # a pair only if maps are also requested
            of_each["ssim"].append(ssim.reshape(-1))
        if lpips is not None:
            lpips.to(device).update(*(images.expand(-1, 3, -1, -1).to(device) for images in (some, of)))
    metrics |= {name: torch.cat(values).mean().item() for name, values in of_each.items() if values}
    return metrics if lpips is None else metrics | {"lpips": lpips.compute().item()}


def psnr(x: Tensor, clean: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of images [N, C, H, W], clipped to [-1, 1], in dB, [N]; at most 120."""
    found = peak_signal_noise_ratio(x, clean, data_range=(-1.0, 1.0), dim=(1, 2, 3), reduction="none")
    return found.clamp(max=120).reshape(-1)


def pixel_metrics(x: Tensor) -> Mapping[str, float]:
    """Whether all pixels of images [N, C, H, W] are finite, the largest pixel, and how whole the images are; see
    :mod:`spnn.metrics.wholeness`."""
    low, high = x.aminmax()
    largest = torch.maximum(-low, high).item()
    return {
        "finite": float(math.isfinite(largest)),
        "largest_pixel": largest,
        "saturated": saturated(x).mean().item(),
        "fine_energy": fine_energy(x).mean().item(),
    }


def diversity(samples: Tensor) -> float:
    """The root mean square difference of pixels, averaged over all pairs of samples of one target, then over targets; 0
    if all samples of a target are the same.

    Arguments:
        samples: n samples for each of B targets, [B, n, C, H, W] in [-1, 1], with n at least 2.
    """
    if samples.shape[1] < 2:
        raise InputError(f"diversity needs at least two samples of each target, got {samples.shape[1]}.")
    distances = [torch.pdist(each.double()).mean() for each in samples.flatten(2)]  # one target's samples at a time
    return torch.stack(distances).mean().item() / math.prod(samples.shape[2:]) ** 0.5


def constraint_violation(outputs: Tensor, wanted: Tensor) -> Tensor:
    r"""The mean :math:`|g(\hat x_0) - y|` over samples and coordinates at each of S steps of sampling, [S].

    Arguments:
        outputs: :math:`g(\hat x_0)`, [N, S, ...].
        wanted: The targets, [N, ...].
    """
    return (outputs - wanted[:, None]).abs().flatten(2).mean(2).double().mean(0)
