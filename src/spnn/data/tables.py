"""Tables of labels and partitions, such as come with data sets of faces: text files and CSV files."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spnn.errors import InputError, some_of

__all__ = ["Table", "read_table"]

_PLAIN = {"1.0": "1", "true": "1", "yes": "1", "0.0": "0", "false": "0", "no": "0", "-1.0": "-1", "+1": "1"}


class Table(NamedTuple):
    """A row per image: its name and some values, as written in the file.

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

    def select(self, columns: Sequence[str]) -> "Table":
        """Return a table of the given columns, in the given order."""
        places = [self.columns.index(name) for name in columns]
        return self._replace(columns=tuple(columns), values=self.values[:, places])

    def among(self, *allowed: str) -> np.ndarray:
        """Return the values, [N, K].

        Raises:
            InputError: If a value is not an allowed one.
        """
        strange = ~np.isin(self.values, allowed)
        if strange.any():
            row, column = np.argwhere(strange)[0]
            raise InputError(
                f"{self.path}: {self.columns[column]} of {self.names[row]} is {str(self.values[row, column])!r}, "
                f"expected {' or '.join(allowed)}."
            )
        return self.values

    def binary(self) -> np.ndarray:
        """Return the values as bool, [N, K].

        Raises:
            InputError: If they are not all 0 or 1, or all -1 or 1; ``1.0``, ``true`` and ``yes`` count as 1.
        """
        written, places = np.unique(self.values, return_inverse=True)
        plain = np.array([_PLAIN.get(value.lower(), value) for value in written.tolist()])[places].reshape(
            self.values.shape
        )
        return self._replace(values=plain).among("-1" if (plain == "-1").any() else "0", "1") == "1"


def read_table(path: Path, columns: Sequence[str] = ()) -> Table:
    """Read a table.

    A ``.csv`` file is separated by commas, semicolons or tabs. It has a header, whose first entry heads the column of
    the images' names; lines before the header that begin with ``#`` are ignored. Other files are separated by white
    space: like CelebA's, they hold the number of images, the columns' names, and a row per image; or, if ``columns``
    are given, the rows alone. Windows line endings and a byte order mark do no harm.

    Arguments:
        path: The file.
        columns: The columns' names, if a text file doesn't have them.

    Raises:
        InputError: If the file can't be read, is no such table, has a row whose length differs from the header's or
            another number of rows than it states, or names an image or a column twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    if text.lstrip()[:1] == "<":
        raise InputError(f"{path} is a web page, not a table: the download was refused. Download it again.")
    commas = path.suffix.lower() == ".csv"
    lines = _split(text.splitlines()) if commas else map(str.split, text.splitlines())
    rows = {number: [word.strip() for word in line] for number, line in enumerate(lines, 1) if line}
    header, count = list(columns), None
    if commas:
        header = rows.pop(min(rows))[1:] if rows else []
    elif not columns:
        first, header = rows.pop(1, []), rows.pop(2, [])
        if len(first) != 1 or not first[0].isdecimal():
            raise InputError(
                f"{path}: line 1 must be the number of images and line 2 the labels' names; line 1 is "
                f"{' '.join(first)[:60]!r}."
            )
        count = int(first[0])
    if "" in header:
        raise InputError(f"{path}: column {header.index('') + 2} has no name in the header, {some_of(header, 5)}.")
    if not header or not rows:
        raise InputError(f"{path} has no {'rows' if header else 'columns'}: it is empty or was cut off.")
    for number, row in rows.items():
        if len(row) != 1 + len(header):
            raise InputError(
                f"{path}, line {number}: {len(row) - 1} values for {len(header)} columns ({some_of(header)})."
            )
    if count is not None and count != len(rows):
        raise InputError(f"{path} says that it has {count} rows, but has {len(rows)}: it was cut off or edited.")
    names = [row[0] for row in rows.values()]
    for what, found in (("names a column twice:", header), ("has more than one row for", names)):
        ((name, times),) = Counter(found).most_common(1)
        if times > 1:
            raise InputError(f"{path} {what} {name!r}.")
    return Table(path, names, tuple(header), np.array([row[1:] for row in rows.values()]))


def _split(lines: list[str]) -> Iterator[list[str]]:
    """The cells of each line, split at the separator that is the most frequent in the header; notes before the header
    become empty lines."""
    first = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    separator = max(",;\t", key=lines[first].count) if lines else ","
    return csv.reader([""] * first + lines[first:], delimiter=separator)
