"""A user's request to the editor: the picture to work on, and how to draw."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from spnn.errors import InputError

__all__ = ["GUIDANCES", "OTHERS", "Options", "Subject"]

GUIDANCES = ("nlbp_bounded", "nlbp_gentle", "nlbp", "naive", "gradient")
"""Options of ``conf/guidance`` that the editor offers."""
OTHERS = ("default", "follow", "likely", "keep", "free")
"""What may happen to the labels that aren't set."""
_MOST_STEPS, _MOST_VARIANTS = 250, 4


@dataclass(frozen=True)
class Subject:
    """The picture to work on.

    Attributes:
        kind: A held-out image, a photo, or noise alone.
        number: The held-out image's number.
        name: The name of the photo's file.
        image: [C, H, W] in [-1, 1]; None for noise.
        y: The operator's outputs for it, [K]; None for noise.
    """

    kind: Literal["held-out", "photo", "noise"]
    number: int = 0
    name: str = ""
    image: Tensor | None = None
    y: Tensor | None = None


@dataclass(frozen=True)
class Options:
    """How to draw.

    Attributes:
        steps: The sampler's steps, 1 to 250.
        seed: A whole number of at least 0.
        start: The step whose noise is put on the picture, 0 to 999; None to start from noise alone.
        guidance: One of :data:`GUIDANCES`.
        others: One of :data:`OTHERS`.
        variants: How many pictures to draw, 1 to 4, each from a different seed.

    Raises:
        InputError: If an option has another value.
    """

    steps: int = 50
    seed: int = 0
    start: int | None = 450
    guidance: str = "nlbp_bounded"
    others: str = "default"
    variants: int = 1

    def __post_init__(self):
        for name, least, most in (("steps", 1, _MOST_STEPS), ("seed", 0, 2**31), ("variants", 1, _MOST_VARIANTS)):
            object.__setattr__(self, name, _whole(name, getattr(self, name), least, most))
        if self.start is not None:
            object.__setattr__(self, "start", _whole("start", self.start, 0, 999))
        for name, known in (("guidance", GUIDANCES), ("others", OTHERS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")

    def others_of(self, task: str) -> str | None:
        """The option ``<task>.others``; None for its default. In new pictures, others can only be random or free."""
        chosen = None if self.others == "default" else self.others
        return chosen if task == "edit" or chosen == "free" else None


def _whole(name: str, value: object, least: int, most: int) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value != int(value)
        or not least <= value <= most
    ):
        raise InputError(f"{name} must be a whole number from {least} to {most}, got {value!r}.")
    return int(value)
