"""Tables of attributes and partitions, as data sets of faces come with them: text files and CSV files."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spnn.errors import InputError, some_of

__all__ = ["Table", "read_table"]


class Table(NamedTuple):
    """A row per image: its name and some values, as they are written.

    Attributes:
        path: The file.
        names: The images' names, N of them, all different.
        columns: The K columns' names.
        values: Text, [N, K].
    """

    path: Path
    names: list[str]
    columns: tuple[str, ...]
    values: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """The values of one column, [N]."""
        return self.values[:, self.columns.index(name)]

    def without(self, name: str) -> "Table":
        """The table but for one column."""
        keep = [i for i, column in enumerate(self.columns) if column != name]
        return self._replace(columns=tuple(self.columns[i] for i in keep), values=self.values[:, keep])

    def whole_numbers(self, allowed: Sequence[int]) -> np.ndarray:
        """The values as int8, [N, K].

        Raises:
            InputError: If one is not among the allowed.
        """
        numbers = np.full(self.values.shape, -128, np.int8)
        for value in allowed:
            numbers[self.values == str(value)] = value
        if (numbers == -128).any():
            row, column = np.argwhere(numbers == -128)[0]
            raise InputError(
                f"{self.path}: {self.columns[column]} of {self.names[row]} is {str(self.values[row, column])!r}, "
                f"expected {' or '.join(map(str, allowed))}."
            )
        return numbers

    def binary(self) -> np.ndarray:
        """The values as bool, [N, K]: −1 and 1, or 0 and 1, but not both -1 and 0.

        Raises:
            InputError: If there are others.
        """
        numbers = self.whole_numbers((-1, 0, 1))
        if (numbers == -1).any() and (numbers == 0).any():
            row, column = np.argwhere(numbers == 0)[0]
            raise InputError(
                f"{self.path} holds both -1 and 0 ({self.columns[column]} of {self.names[row]} is 0): attributes are "
                "-1 and 1, or 0 and 1."
            )
        return numbers == 1


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> Table:
    """Read a table.

    A ``.csv`` file has a header, whose first entry stands over the images' names. Other files are separated by white
    space: the number of images, the columns' names, and a row per image, as CelebA's; or, where ``columns`` are given,
    the rows alone. Windows' line ends and a byte order mark do no harm.

    Arguments:
        path: The file.
        columns: The columns' names, if a text file doesn't have them.

    Raises:
        InputError: If it can't be read, is no such table, has rows of another length than its header or another number
            of them than it says, or names an image twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    if text.lstrip()[:1] == "<":
        raise InputError(f"{path} is a web page, not a table: the download was refused. Download it again.")
    lines = text.splitlines()
    rows = list(csv.reader(lines)) if path.suffix.lower() == ".csv" else [line.split() for line in lines]
    numbered = [(number, row) for number, row in enumerate(rows, 1) if row]
    count = None
    if path.suffix.lower() == ".csv":
        header = [name.strip() for name in numbered.pop(0)[1][1:]] if numbered else []
    elif columns is not None:
        header = list(columns)
    else:
        first, header = ([row for _, row in numbered[:2]] + [[], []])[:2]
        if len(first) != 1 or not first[0].isdecimal():
            raise InputError(
                f"{path}: line 1 must be the number of images and line 2 the attributes' names; line 1 is "
                f"{' '.join(first)[:60]!r}."
            )
        count, numbered = int(first[0]), numbered[2:]
    if not header or not numbered:
        raise InputError(f"{path} has no {'rows' if header else 'columns'}: it is empty or was cut off.")
    for number, row in numbered:
        if len(row) != 1 + len(header):
            raise InputError(
                f"{path}, line {number}: {len(row) - 1} values for {len(header)} columns ({some_of(header)})."
            )
    if len(set(header)) < len(header):
        raise InputError(f"{path} names a column twice: {_first_repeated(header)!r}.")
    if count is not None and count != len(numbered):
        raise InputError(f"{path} says that it has {count} rows, but has {len(numbered)}: it was cut off or edited.")
    names = [row[0].strip() for _, row in numbered]
    if len(set(names)) < len(names):
        raise InputError(f"{path} has more than one row for {_first_repeated(names)!r}.")
    values = np.array([[value.strip() for value in row[1:]] for _, row in numbered])
    return Table(path, names, tuple(header), values)


def _first_repeated(names: Sequence[str]) -> str:
    seen = set()
    return next(name for name in names if name in seen or seen.add(name))
