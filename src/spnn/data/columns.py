"""What the columns of a table hold: yes or no, numbers, or classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spnn.data.tables import Table
from spnn.errors import InputError
from spnn.readout import Binary, Classes, Mixed, Readout, Values

__all__ = ["Column", "columns_of", "labels_of", "readout_of"]

_YES_NO = {"0", "1", "-1", "0.0", "1.0", "-1.0", "+1", "true", "false", "yes", "no"}
_KINDS = ("yes_no", "number", "class")
_MOST_CLASSES = 1000


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Its name in the table's header.
        kind: ``yes_no``, ``number`` or ``class``.
        range: For numbers, the least and the largest among the training images.
        unit: For numbers, the unit, for texts.
        classes: For a class, its values, sorted.
    """

    name: str
    kind: str
    range: tuple[float, float] | None = None
    unit: str = ""
    classes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its labels."""
        return tuple(f"{self.name}_{value}" for value in self.classes) if self.kind == "class" else (self.name,)

    def as_json(self) -> dict[str, Any]:
        """The attributes as plain values."""
        return asdict(self)

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> "Column":
        """Make a column from such values again."""
        lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
        return cls(**{**found, **lists})


def columns_of(table: Table, training: np.ndarray, said: Mapping[str, Any]) -> list[Column]:
    """Recognise a table's columns, and return those of yes or no first, then numbers, then classes.

    Arguments:
        table: The table.
        training: Which rows are training images, a mask [N].
        said: The user's description of columns, by name: the kind, or a dictionary with ``kind``, ``range``, ``unit``.

    Raises:
        InputError: If a column's contents don't show its kind, or don't match the user's description.
    """
    if unknown := [name for name in said if name not in table.columns]:
        raise InputError(f"data.readout has the column {unknown[0]}, but {table.path} has {', '.join(table.columns)}.")
    found = []
    for place, name in enumerate(table.columns):
        values = table.values[:, place]
        options = said.get(name, {})
        options = {"kind": options} if isinstance(options, str) else dict(options)
        kind = options.pop("kind", None) or _recognised(table, name, values)
        if kind not in _KINDS or options.keys() - {"range", "unit"}:
            raise InputError(
                f"data.readout says {said[name]!r} of {name}: give {', '.join(_KINDS)}, or such as "
                "{kind: number, range: [0, 100], unit: years}."
            )
        if kind == "number":
            numbers = _numbers(table, name)[training]
            options.setdefault("range", (float(numbers.min()), float(numbers.max())))
            options["range"] = tuple(map(float, options["range"]))
            low, high = options["range"]
            if not low < high:
                raise InputError(
                    f"{table.path}: {name} is {low:g} in all training images, which says nothing."
                    if low == high
                    else f"data.readout gives {name} the range from {low:g} to {high:g}: the lower end comes first."
                )
        elif kind == "class":
            options["classes"] = tuple(sorted(set(values[training].tolist())))
            strange = ~np.isin(values, options["classes"])
            if strange.any() or len(options["classes"]) < 2:
                row = np.flatnonzero(strange)[0] if strange.any() else 0
                raise InputError(
                    f"{table.path}: {name} of {table.names[row]} is {str(values[row])!r}, and training images have "
                    f"{', '.join(options['classes'][:5])}: there must be two classes, each with a training image."
                )
        found.append(Column(name, kind, **options))
    return sorted(found, key=lambda column: _KINDS.index(column.kind))


def labels_of(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """The labels that columns hold, side by side, [N, K]: bool if all are yes or no, else float32.

    Raises:
        InputError: If a value is not of its column's kind.
    """
    answers = [column.name for column in columns if column.kind == "yes_no"]
    parts = [table.select(answers).binary()] if answers else []
    for column in columns[len(answers) :]:
        if column.kind == "number":
            parts.append(_numbers(table, column.name)[:, None])
        else:
            values = table.select([column.name]).among(*column.classes)
            parts.append(values == np.array(column.classes))
    labels = np.concatenate(parts, axis=1)
    return labels if labels.dtype == bool else labels.astype(np.float32)


def readout_of(columns: Sequence[Column]) -> Readout:
    """What the labels of such columns mean."""
    parts: list[Readout] = []
    if answers := [column.name for column in columns if column.kind == "yes_no"]:
        parts.append(Binary(answers))
    if numbers := [column for column in columns if column.kind == "number"]:
        ranges, units = ({column.name: getattr(column, what) for column in numbers} for what in ("range", "unit"))
        parts.append(Values([column.name for column in numbers], ranges=ranges, units=units))
    parts += [Classes(column.names, column.name) for column in columns if column.kind == "class"]
    return parts[0] if len(parts) == 1 else Mixed(parts)


def _recognised(table: Table, name: str, values: np.ndarray) -> str:
    plain = [value.lower() for value in values.tolist()]
    if "" in plain:
        raise InputError(
            f"{table.path}: {name} of {table.names[plain.index('')]} is empty: fill it in, or leave it out."
        )
    answers, numbers = sum(value in _YES_NO for value in plain), sum(map(_is_number, plain))
    different = sorted(set(values.tolist()))
    if answers == len(plain) or (answers > len(plain) / 2 and numbers < len(plain)):  # a slip's row is reported later
        return "yes_no"
    if numbers > 0.8 * len(plain):  # here, too
        return "number"
    if numbers == 0 and len(different) <= min(_MOST_CLASSES, len(plain) / 2):
        return "class"
    raise InputError(
        f"{table.path}: the column {name} holds neither yes or no, nor numbers, nor a few classes: it has "
        f"{', '.join(map(repr, different[:3]))}, ... ({len(different)} different values, {numbers} of {len(plain)} are "
        f"numbers). Mend it, take it out, or say what it is: data.readout={{{name}: class}}."
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(table: Table, name: str) -> np.ndarray:
    values = table.select([name]).values[:, 0]
    for row, value in enumerate(values.tolist()):
        if not _is_number(value):
            raise InputError(f"{table.path}: {name} of {table.names[row]} is {value!r}, expected a finite number.")
    return values.astype(np.float64)
