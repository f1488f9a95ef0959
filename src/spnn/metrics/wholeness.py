"""Whether samples look like pictures at all: guidance can satisfy every classifier with pictures that are burnt or
mottled.

Each number means something only beside that of real images. No one of them sees every fault.
"""

import math

import torch
from torch import Tensor

__all__ = ["broken", "fine_energy", "saturated"]

_EXTREME = 1 - 1 / 255  # beyond it, a value is 0 or 255 as a byte


def saturated(images: Tensor) -> Tensor:
    """The share of each image's values that are black or white as bytes (0 or 255), [N, C, H, W] in [-1, 1] -> [N]."""
    return (images.abs() > _EXTREME).flatten(1).double().mean(1)


def fine_energy(images: Tensor) -> Tensor:
    """The power of each image's finest details: the part of its mean square that lies above half of the highest
    frequency, across or down, [N, C, H, W] -> [N]. Speckle raises it, blur lowers it.
    """
    height, width = images.shape[-2:]
    power = torch.fft.fft2(images.double(), norm="ortho").abs().square()
    down, across = torch.fft.fftfreq(height).abs(), torch.fft.fftfreq(width).abs()
    fine = torch.maximum(down[:, None], across[None]).to(images.device) > 0.25
    return (power * fine).flatten(1).mean(1)


def broken(own: dict[str, float], real: dict[str, float], expected_frechet: float | None = None) -> list[str]:
    """What is wrong with a set of samples, in words; empty if nothing is.

    Arguments:
        own: Of the samples: ``saturated`` and ``fine_energy``, means over images, and, where there is a judge,
            ``judge_frechet``.
        real: ``saturated`` and ``fine_energy`` of real images.
        expected_frechet: What ``judge_frechet`` of as many whole pictures of the same kind would be, if that is known.
    """
    found = []
    if not math.isfinite(own["fine_energy"]):
        found.append("pixels are not finite numbers")
    if own["saturated"] > 2 * real["saturated"] + 0.02:
        found.append(
            f"{100 * own['saturated']:.1f} % of their values are black or white, of real images' "
            f"{100 * real['saturated']:.1f} %"
        )
    if own["fine_energy"] > 2 * real["fine_energy"]:
        ratio = own["fine_energy"] / max(real["fine_energy"], 1e-12)
        found.append(f"they have {ratio:.1f} times the fine detail of real images")
    if expected_frechet is not None and own.get("judge_frechet", 0) > 3 * expected_frechet:
        ratio = own["judge_frechet"] / expected_frechet
        found.append(f"the judge finds them {ratio:.1f} times as far from real images as whole pictures would be")
    return found
