"""Numbers: measurements of an image."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.readout.base import Readout, Setting

__all__ = ["VALUES", "Values"]

_LEAST = 0.01  # smallest deviation: below it, the loss is mostly rounding


class Values(Readout):
    """Numbers, such as measurements of an image. With ranges, outputs are -1 at the lower end and 1 at the upper end,
    so that numbers in any unit are trained and guided in the same way, and errors are shares of the range.

    They are trained as if they were measured with an error of the size of the tolerance. This gives a number about as
    much weight as an attribute or a class, and a reasonable weight against the network's reconstruction.

    Arguments:
        names: As in :class:`Readout`.
        tolerance: Two values agree if they differ by at most this: a share of the range, or a number if there are no
            ranges.
        ranges: The lower and upper end by name, in the labels' unit, for all names or none. Values outside are allowed.
        units: Units by name, for texts; a user may write them after a number, as in ``20 deg``.

    Raises:
        InputError: If an argument is invalid.
    """

    noun = "value"
    low: Tensor
    high: Tensor

    def __init__(
        self,
        names: Sequence[str] = (),
        tolerance: float = 0.1,
        ranges: Mapping[str, Sequence[float]] | None = None,
        units: Mapping[str, str] | None = None,
    ):
        super().__init__(names)
        if isinstance(tolerance, str) or not tolerance >= 0:
            raise InputError(f"tolerance must be a number of at least 0, got {tolerance!r}.")
        self.tolerance, self.units = tolerance, dict(units or {})
        if ranges is not None and (ranges.keys() != set(names) or not all(low < high for low, high in ranges.values())):
            raise InputError(
                f"ranges must give each of {list(names)} a lower and an upper end, got {dict(ranges)}: a value that is "
                "the same in all images says nothing."
            )
        ends = [(-1.0, 1.0)] * len(names) if ranges is None else [tuple(ranges[name]) for name in names]
        self.low, self.high = torch.tensor(ends).T if names else (torch.tensor(-1.0), torch.tensor(1.0))
        self.ranges = None if ranges is None else {name: tuple(ends) for name, ends in ranges.items()}

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """The negative logarithm of a normal likelihood whose deviation is the tolerance, without its constant."""
        scale = max(self.tolerance, _LEAST) * (2 if self.ranges else 1)  # outputs from -1 to 1 are one range
        return ((y - self.encode(labels)) / scale).square() / 2

    def decode(self, y: Tensor) -> Tensor:
        low, high = self.low.to(y), self.high.to(y)
        return (low + high) / 2 + (high - low) / 2 * y

    def encode(self, labels: Tensor) -> Tensor:
        low, high = self.low.to(labels), self.high.to(labels)
        return (2 * labels - low - high) / (high - low)

    def level(self, y: Tensor) -> Tensor:
        return ((y + 1) / 2).clamp(0, 1) if self.ranges else super().level(y)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        difference = (found - wanted).abs()
        return difference / (self.high - self.low).to(difference) if self.ranges else difference

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        return self.error(found, wanted) <= self.tolerance

    def read(self, name: str, value: float | str | bool) -> Setting:
        """``low``, ``high``, or a number in the labels' unit, with or without the unit after it."""
        unit = self.units.get(name, "")
        if isinstance(value, str) and unit and (match := re.fullmatch(rf"\s*(\S+?)\s*{re.escape(unit)}\s*", value)):
            with suppress(ValueError):
                value = float(match[1])
        try:
            return super().read(name, value)
        except InputError as error:
            raise InputError(f"{str(error)[:-1]}; its unit is {unit}.") if unit else error  # noqa: B904

    def number(self, place: int, value: float) -> str:
        unit = self.units.get(self.names[place], "")
        return f"{value:.3g}" + f" {unit}" * bool(unit)


VALUES = Values()
"""The readout for coordinates without names."""
