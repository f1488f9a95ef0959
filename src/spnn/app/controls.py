"""What can be moved in the editor: a slider or a menu for each thing that a readout lets a user set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.outputs import TrainingOutputs
from spnn.readout import Classes, Mixed, Readout

__all__ = ["Control", "Value", "by_command_alone", "changes", "controls_of", "values_of"]

Value = float | str | None
"""A slider's number, in the unit in which users set the label; a menu's class; None where nothing is chosen."""

_LOGITS = 6.0  # either way, where training outputs aren't known
_STEPS = 100  # of a slider, at least


@dataclass(frozen=True)
class Control:
    """A slider, or a menu if there are ``choices``.

    Attributes:
        key: By what it is set, as in ``edit.set``.
        places: Of the coordinates that it sets.
        choices: Of a menu.
        low, high, step: Of a slider, in the unit in which users set the label.
    """

    key: str
    places: tuple[int, ...]
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0

    def value(self, y: Tensor, readout: Readout) -> Value:
        """What outputs [K] show of it, rounded to the slider's step."""
        if self.choices:
            return self.choices[int(y[list(self.places)].argmax())]
        return self.rounded(readout.shown(y)[self.places[0]].item())

    def rounded(self, value: float) -> float:
        """The nearest value that the slider can have, within its ends or beyond."""
        return round(round(value / self.step) * self.step, _decimals(self.step))

    def ends(self, value: Value) -> tuple[float, float]:
        """The slider's ends, moved out as far as a picture's own value needs."""
        own = value if isinstance(value, int | float) else self.low
        return min(self.low, own), max(self.high, own)

    def text(self, value: Value, readout: Readout) -> str:
        """A value as a user reads it."""
        return readout.number(self.places[0], value) if isinstance(value, int | float) else str(value)


def controls_of(readout: Readout, known: TrainingOutputs | None) -> list[Control]:
    """The controls of what can be set by a number or by a choice.

    Arguments:
        readout: What the operator's outputs say.
        known: What training images show: a slider goes from the 1 % quantile of those that lack the label to the 99 %
            quantile of those that have it. None where that isn't known.
    """
    controls, start = [], 0
    for part in _parts(readout):
        places = range(start, start + len(part.names))
        if isinstance(part, Classes):
            names = tuple(name.removeprefix(f"{part.group}_") for name in part.names)
            controls.append(Control(part.group, tuple(places), names))
        elif part.keys == part.names:
            controls += [_slider(readout, known, place) for place in places]
        start = places.stop
    return controls


def by_command_alone(readout: Readout) -> str | None:
    """What has no control here, in a sentence; None if everything has one."""
    kinds = [part.plural for part in _parts(readout) if not isinstance(part, Classes) and part.keys != part.names]
    if not kinds:
        return None
    return (
        f"The {' and '.join(kinds)} of this run can't be set in the editor. The command line sets them: "
        "spnn sample task=edit, see docs/sampling.md."
    )


def values_of(controls: Sequence[Control], y: Tensor, readout: Readout) -> dict[str, Value]:
    """What outputs [K] show, by the controls' keys."""
    return {control.key: control.value(y, readout) for control in controls}


def changes(
    controls: Sequence[Control], own: Mapping[str, Value], values: Mapping[str, Value]
) -> dict[str, float | str]:
    """What was moved away from a picture's own values: key to value, as ``edit.set`` takes it.

    Raises:
        InputError: If a slider has no number, or a menu no such choice.
    """
    found: dict[str, float | str] = {}
    for control in controls:
        value = values[control.key]
        if value is None:
            continue
        if control.choices and value not in control.choices:
            raise InputError(f"{control.key} has no choice {value!r}.")
        if not control.choices:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{control.key} needs a number, got {value!r}.")
            value = control.rounded(value)
        if value != own[control.key]:
            found[control.key] = value
    return found


def _parts(readout: Readout) -> Sequence[Readout]:
    return readout.parts if isinstance(readout, Mixed) else [readout]


def _slider(readout: Readout, known: TrainingOutputs | None, place: int) -> Control:
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
    return Control(readout.names[place], (place,), (), round(low, _decimals(step)), round(high, _decimals(step)), step)


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))
