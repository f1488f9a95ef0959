"""The editor's controls: a slider for each number that a readout lets a user set, and controls for labels that are set
together: a menu, a map to paint on, a list of objects."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.outputs import TrainingOutputs
from spnn.readout import Mixed, Readout

__all__ = [
    "Control",
    "Slider",
    "Value",
    "Whole",
    "by_command_alone",
    "changes",
    "controls_of",
    "edited",
    "read_values",
    "values_of",
]

Value = float | str | tuple
"""A slider's number, in the unit in which users set the label; for labels that are set together, the value that
:meth:`~spnn.readout.Readout.seen` gives."""

_LOGITS = 6.0  # a slider's reach either way, if training outputs aren't known
_STEPS = 100  # the least number of a slider's steps


@dataclass(frozen=True)
class Control(ABC):
    """A control that sets one or more labels.

    Attributes:
        key: Its name.
        places: The places of the coordinates that it sets.
    """

    key: str
    places: tuple[int, ...]

    @abstractmethod
    def value(self, y: Tensor, readout: Readout) -> Value:
        """The value that outputs [K] show."""

    @abstractmethod
    def read(self, value: object) -> Value:
        """Read a value from the page or from a file.

        Raises:
            InputError: If it isn't a value of this control.
        """

    @abstractmethod
    def edit(self, own: Value, value: Value) -> dict[str, float | str]:
        """The settings that take the picture's own value to another, as for ``edit.set``; errors as :meth:`read`."""

    @abstractmethod
    def edited(self, own: Value, values: Mapping[str, float | str]) -> Value:
        """The control's value after the settings that :meth:`edit` gave; errors as :meth:`read`."""

    @abstractmethod
    def takes(self, key: str) -> bool:
        """Whether :meth:`edit` may give this key."""

    @abstractmethod
    def text(self, value: Value, readout: Readout) -> str:
        """A value in words, for the user; empty if that would be too long."""

    @abstractmethod
    def words(self, own: Value, value: Value, readout: Readout) -> list[str]:
        """The changes in words, for the user."""


@dataclass(frozen=True)
class Slider(Control):
    """A number.

    Attributes:
        low, high, step: Its ends and its step, in the unit in which users set the label.
    """

    low: float
    high: float
    step: float

    def value(self, y: Tensor, readout: Readout) -> float:
        """The value that outputs [K] show, rounded to the slider's step."""
        return self.rounded(readout.shown(y)[self.places[0]].item())

    def rounded(self, value: float) -> float:
        """The nearest multiple of the slider's step, within its ends or beyond."""
        return round(round(value / self.step) * self.step, _decimals(self.step))

    def ends(self, value: Value) -> tuple[float, float]:
        """The slider's ends, moved out as far as necessary to include a picture's own value."""
        own = value if isinstance(value, int | float) else self.low
        return min(self.low, own), max(self.high, own)

    def read(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{self.key} needs a number, got {value!r}.")
        return self.rounded(value)

    def edit(self, own: Value, value: Value) -> dict[str, float | str]:
        return {} if value == own else {self.key: self.read(value)}

    def edited(self, own: Value, values: Mapping[str, float | str]) -> Value:
        return self.read(values[self.key]) if values else own

    def takes(self, key: str) -> bool:
        return key == self.key

    def text(self, value: Value, readout: Readout) -> str:
        return readout.number(self.places[0], self.read(value))

    def words(self, own: Value, value: Value, readout: Readout) -> list[str]:
        return [f"{self.key} {self.text(value, readout)}"]


@dataclass(frozen=True)
class Whole(Control):
    """A control of labels that are set together.

    Attributes:
        part: The readout that these labels belong to; its ``by_hand`` gives the kind of control.
    """

    part: Readout

    def value(self, y: Tensor, readout: Readout) -> Value:
        return self.part.seen(y[list(self.places)])

    def read(self, value: Any) -> Value:
        if self.part.by_hand != "objects":
            return value
        return tuple(_object(row) for row in value if any(cell not in (None, "") for cell in row))

    def edit(self, own: Value, value: Value) -> dict[str, float | str]:
        return self.part.edit(own, value)

    def edited(self, own: Value, values: Mapping[str, float | str]) -> Value:
        return self.part.edited(own, values)

    def takes(self, key: str) -> bool:
        return self.part.takes(key)

    def text(self, value: Value, readout: Readout) -> str:
        return value if isinstance(value, str) else ""

    def words(self, own: Value, value: Value, readout: Readout) -> list[str]:
        return [f"{key} {text}" for key, text in self.edit(own, value).items()]


def controls_of(readout: Readout, known: TrainingOutputs | None) -> list[Control]:
    """Return the controls of all labels that can be set by hand.

    Arguments:
        readout: What the operator's outputs mean.
        known: The training outputs: a slider goes from the 1 % quantile of the images that lack the label to the 99 %
            quantile of those that have it. None if they aren't known.
    """
    controls: list[Control] = []
    for part, start in _parts(readout):
        places = tuple(range(start, start + len(part.names)))
        if part.by_hand != "numbers":
            key = part.keys[-1] if part.by_hand == "choice" else part.by_hand
            controls.append(Whole(key, places, part))
        elif part.keys == part.names:
            controls += [_slider(readout, known, place) for place in places]
    return controls


def by_command_alone(readout: Readout) -> str | None:
    """A sentence on the labels that have no control here; None if all have one."""
    kinds = [p.plural for p, _ in _parts(readout) if p.by_hand == "numbers" and p.keys != p.names]
    if not kinds:
        return None
    return (
        f"The {' and '.join(kinds)} of this run can't be set in the editor. The command line sets them: "
        "spnn sample task=edit, see docs/sampling.md."
    )


def values_of(controls: Sequence[Control], y: Tensor, readout: Readout) -> dict[str, Value]:
    """The values that outputs [K] show, by the controls' keys."""
    return {control.key: control.value(y, readout) for control in controls}


def read_values(
    controls: Sequence[Control], own: Mapping[str, Value], values: Mapping[str, object]
) -> dict[str, Value]:
    """Read the values of the page's controls; None stands for the picture's own value.

    Raises:
        InputError: If a slider's value isn't a number, or a row isn't an object.
    """
    return {c.key: own[c.key] if values[c.key] is None else c.read(values[c.key]) for c in controls}


def changes(
    controls: Sequence[Control], own: Mapping[str, Value], values: Mapping[str, object]
) -> dict[str, float | str]:
    """The settings that differ from the picture's own values: key to value, as for ``edit.set``.

    Raises:
        InputError: As :func:`read_values`, or if there is no such class.
    """
    read = read_values(controls, own, values)
    found = [control.edit(own[control.key], read[control.key]) for control in controls]
    return {key: value for some in found for key, value in some.items()}


def edited(
    controls: Sequence[Control], own: Mapping[str, Value], wanted: Mapping[str, float | str]
) -> dict[str, Value]:
    """The controls' values after the settings that :func:`changes` gave.

    Raises:
        InputError: If no control sets a key, or a value can't be read.
    """
    found, left = {}, dict(wanted)
    for control in controls:
        mine = {key: left.pop(key) for key in wanted if key in left and control.takes(key)}
        found[control.key] = control.edited(own[control.key], mine)
    if left:
        raise InputError(f"nothing here sets {', '.join(left)}.")
    return found


def _parts(readout: Readout, start: int = 0) -> Iterator[tuple[Readout, int]]:
    """The readouts that are each set in their own way, and the places where their coordinates begin."""
    if readout.by_hand != "numbers" or not isinstance(readout, Mixed):
        yield readout, start
    else:
        for part, place in zip(readout.parts, readout.slices, strict=True):
            yield from _parts(part, start + place.start)


def _slider(readout: Readout, known: TrainingOutputs | None, place: int) -> Slider:
    if known is None:
        reach = _LOGITS if readout.part(place).grouped else 1.0
        ends = -reach, reach
    else:
        ends = known.absent[1, place].item(), known.present[99, place].item()
        if not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
            ends = tuple(known.range[:, place].tolist())
    rows = torch.full((2, len(readout.names)), torch.nan)
    rows[:, place] = torch.tensor(ends)
    low, high = readout.shown(rows)[:, place].tolist()
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-6) / _STEPS))
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return Slider(readout.names[place], (place,), round(low, _decimals(step)), round(high, _decimals(step)), step)


def _object(row: Sequence) -> tuple[str | float, ...]:
    """A class and four numbers, rounded as an edit writes them."""
    kind, *numbers = row
    try:
        return str(kind), *(round(float(number), 2) for number in numbers)
    except (TypeError, ValueError):
        raise InputError(f"an object has a class, x, y, width and height, got {', '.join(map(str, row))}.") from None


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))
