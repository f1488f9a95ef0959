"""The base of checks: a check is a function that yields named rows of figures, with a time limit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.literal import LiteralSPNN
from spnn import SPNN
from spnn.configs import instantiate
from spnn.diffusion import UNetPrior
from spnn.settings import settings

__all__ = ["PRECISIONS", "REPOSITORY", "Check", "Setting", "network", "precision", "unet", "within"]

REPOSITORY = Path(__file__).parents[2]
PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Setting:
    """Where checks compute, and how large their problems are.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: Whether networks and images are so small that a CPU needs only a second for each check.
        sizes: Image size in pixels to the number of images in a training batch.
        samples: Image size in pixels to the number of images to sample.
        steps: The number of sampling steps.
        budget: Seconds to repeat a measurement for.
    """

    device: str
    tiny: bool = False

    @property
    def sizes(self) -> dict[int, int]:
        return {8: 2} if self.tiny else {32: 128, 64: 64, 256: 16}

    @property
    def samples(self) -> dict[int, int]:
        return {8: 2} if self.tiny else {64: 100, 256: 16}

    @property
    def steps(self) -> int:
        return 2 if self.tiny else 50

    @property
    def budget(self) -> float:
        return 0.0 if self.tiny else 0.5


@dataclass(frozen=True)
class Check:
    """A part of the script.

    Attributes:
        name: Its key in the file.
        rows: Yields names and figures; if a figure ``ok`` is false, the check has failed.
        seconds: The time limit; a check that takes longer is stopped, and has failed.
    """

    name: str
    rows: Callable[[Setting], Iterator[tuple[str, dict]]]
    seconds: float


def within(error: Tensor | float, bound: float) -> dict:
    """The figures of an error that has a bound. NaN is out of bounds."""
    error = float(error)
    return {"error": error, "bound": bound, "ok": error <= bound}


@contextmanager
def precision(name: str, device: str):
    """Compute in ``float32`` like the commands, with products rounded to ``tf32``, or with autocast to ``bf16``."""
    with settings(), torch.autocast(device, torch.bfloat16, enabled=name == "bf16"):
        if name == "tf32":
            torch.backends.cudnn.allow_tf32 = True
            torch.set_float32_matmul_precision("high")
        yield


def network(size: int, device: str = "cpu") -> SPNN:
    """The published architecture with random weights, the same in each call for a device."""
    torch.manual_seed(0)
    with torch.device(device):  # drawing the weights there takes no time
        return SPNN.from_published(LiteralSPNN(size).state_dict()).requires_grad_(False)


def unet(size: int) -> UNetPrior:
    """The prior in ``conf/prior`` for images of this size, untrained; the weights are the same in each call."""
    torch.manual_seed(0)
    options = OmegaConf.load(REPOSITORY / f"conf/prior/unet_{'digits' if size == 8 else size}.yaml")
    return instantiate(options, image_shape=(3, size, size)).eval()
