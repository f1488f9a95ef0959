"""Whether samples look like pictures at all: guidance can satisfy every classifier with pictures that are burnt or
mottled.

Each number only has a meaning next to that of real images, and none of them detects every fault.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Fault", "faults", "fine_energy", "saturated", "verdict"]

_EXTREME = 1 - 1 / 255  # values beyond this are 0 or 255 as bytes
_WINDOW = 16  # images at a time, because the computation takes many times their memory


def saturated(images: Tensor) -> Tensor:
    """The share of each image's values that are black or white as bytes (0 or 255), [N, C, H, W] in [-1, 1] -> [N]."""
    return torch.cat([(some.abs() > _EXTREME).flatten(1).double().mean(1) for some in images.split(_WINDOW)])


def fine_energy(images: Tensor) -> Tensor:
    """The power of each image's finest details: the part of its mean square above half of the highest frequency, across
    or down, [N, C, H, W] -> [N]. Speckle raises it, blur lowers it.
    """
    height, width = images.shape[-2:]
    down, across = torch.fft.fftfreq(height).abs(), torch.fft.fftfreq(width).abs()
    fine = torch.maximum(down[:, None], across[None]) > 0.25
    powers = (torch.fft.fft2(some.cpu().double(), norm="ortho").abs().square() for some in images.split(_WINDOW))
    return torch.cat([(power * fine).flatten(1).mean(1) for power in powers])


@dataclass(frozen=True)
class Fault:
    """One way in which a set of samples differs from real images.

    Attributes:
        text: The difference in words.
        broken: Whether it is so large that nobody would take the samples for pictures.
        blurred: Whether the samples lack fine detail.
    """

    text: str
    broken: bool
    blurred: bool = False


def faults(
    own: dict[str, float], real: dict[str, float], expected_frechet: float | None = None, *, of: str = "real images"
) -> list[Fault]:
    """The ways in which a set of samples differs from real images; empty if there are none.

    Arguments:
        own: ``saturated`` and ``fine_energy`` of the samples, averaged over images, and ``judge_frechet`` if there is a
            judge.
        real: ``saturated`` and ``fine_energy`` of real images.
        expected_frechet: The ``judge_frechet`` to expect for equally many whole pictures of the same kind, if that is
            known.
        of: The words to use for the real images.
    """
    if not math.isfinite(own["fine_energy"]):
        return [Fault("their pixels are not finite numbers", broken=True)]
    found = []
    if own["saturated"] > 1.3 * real["saturated"] + 0.01:
        text = (
            f"{100 * own['saturated']:.1f} % of their values are black or white ({of}: {100 * real['saturated']:.1f} %)"
        )
        found.append(Fault(text, own["saturated"] > 2 * real["saturated"] + 0.02))
    detail = own["fine_energy"] / max(real["fine_energy"], 1e-12)
    if not 0.6 < detail < 1.4:
        found.append(Fault(f"they have {detail:.1f} times the fine detail of {of}", detail > 2, detail < 1))
    if expected_frechet is not None and (times := own.get("judge_frechet", 0) / expected_frechet) > 2:
        text = f"by the judge they are {times:.1f} times as far from {of} as whole ones would be"
        found.append(Fault(text, times > 3))
    return found


def verdict(found: Sequence[Fault]) -> str | None:
    """The faults of some pictures as a sentence; None if there are none."""
    if not found:
        return None
    texts = "; ".join(fault.text for fault in found)
    if any(fault.broken for fault in found):
        return f"THE PICTURES ARE BROKEN, whatever the classifiers say: {texts}."
    return f"the pictures look unlike real ones: {texts}."
