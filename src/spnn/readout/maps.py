"""A map of classes: which region each cell of a picture belongs to."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from spnn.errors import InputError, choice, some_of
from spnn.readout.base import Setting
from spnn.readout.colours import colours
from spnn.readout.one_of_many import OneOfMany

__all__ = ["ClassMap"]

_PART = re.compile(r"\[(\d*:\d*|\d+),\s*(\d*:\d*|\d+)\]")  # rows and columns


class ClassMap(OneOfMany):
    """Scores of R classes in each cell of a grid, row by row, with names such as ``hair[2,3]`` (row and column, from
    0). Part of the map is set by ``{hair: "[2:4,3]"}`` or ``{"[2:4,3]": hair}`` (rows 2 and 3 of column 3, as Python
    slices; several parts are joined by ``and``), and all of it by an image of class numbers, ``{map: painted.png}``.

    A cell whose labels are all 0 is unknown: it adds nothing to the loss and isn't scored.

    Arguments:
        classes: The classes' names, at least two.
        height, width: Cells down and across.

    Raises:
        InputError: If there are fewer than two classes, a name is repeated, or one is called ``map``.
    """

    noun, score, trivial, by_hand = "region", "iou", "commonest class of each cell", "map"

    def __init__(self, classes: Sequence[str], height: int, width: int):
        if len(classes) < 2 or len(set(classes)) < len(classes) or "map" in classes:
            raise InputError(
                f"a map needs at least two classes of different names, none of them 'map', got {list(classes)}."
            )
        cells = list(np.ndindex(height, width))
        super().__init__([f"{name}[{row},{column}]" for name in classes for row, column in cells], len(classes))
        self.classes = self.choices = tuple(classes)
        self.height, self.width = height, width
        self.grid = (height, width)

    def labels_of(self, numbers: np.ndarray) -> np.ndarray:
        """Labels, bool [N, K], from maps of class numbers, [N, height, width]; a number that stands for no class makes
        the cell unknown."""
        return (numbers[:, None] == np.arange(self.count)[:, None, None]).reshape(len(numbers), -1)

    def mirror(self, labels: Tensor) -> Tensor:
        """Labels [..., K] of the mirrored pictures."""
        return self.by_cell(labels).unflatten(-1, (self.height, self.width)).flip(-1).flatten(-3)

    def known(self, labels: Tensor) -> Tensor:
        return self._spread(self.by_cell(labels).any(-2))

    def metric(self) -> Metric:
        """Intersection over union of each class, [R]; NaN for a class that occurs nowhere."""
        return _Overlap(self)

    @property
    def scored(self) -> tuple[str, ...]:
        return self.classes

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.names, *self.listed(torch.ones(len(self.names), dtype=torch.bool)), *self.classes, "map")

    def takes(self, key: str) -> bool:
        return super().takes(key) or all(_PART.fullmatch(part) for part in key.split(" and "))

    def places(self, key: str) -> list[int]:
        if key == "map":
            return list(range(len(self.names)))
        if key in self.classes:
            return [self.classes.index(key) * self.cells + cell for cell in range(self.cells)]
        if key not in self.names and self.takes(key):
            return [k for cell in self._inside(key) for k in self.together(cell)]
        return super().places(key)

    def check(self, labels: Tensor) -> None:
        super().check(labels)
        if not (((labels == 0) | (labels == 1)).all() and (self.by_cell(labels).sum(1) <= 1).all()):
            raise InputError("labels of a map are 1 for a cell's class and 0 for the others; these are not.")

    def read(self, name: str, value: float | str | bool) -> Setting:
        if value in (True, "yes"):
            return True
        raise InputError(f"{name} can't be {value!r}: set what the cell is, '[{name.partition('[')[2]}: <class>'.")

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """``{hair: "[2:4,3]"}``, ``{"[2:4,3]": hair}``, ``{"hair[2,3]": yes}``, or ``{map: file}``."""
        read: dict[int, Setting] = {}
        for name, value in values.items():
            if name == "map":
                read |= self._painted(str(value))
            elif name in self.classes:
                read |= self._filled(name, str(value))
            elif str(name) in self.names or not self.takes(str(name)):
                read[self.place(str(name))] = self.read(str(name), value)
            else:
                read |= self._filled(str(value), str(name))
        cells = [k % self.cells for k in read]
        if twice := [self.names[k] for k, cell in zip(read, cells, strict=True) if cells.count(cell) > 1]:
            raise InputError(f"a cell has one class, but {some_of(twice, 4)} are set.")
        return read

    def _filled(self, name: str, part: str) -> dict[int, Setting]:
        """Set a part of the map to one class."""
        if name not in self.classes:
            raise InputError(f"there is no class {name!r}{choice(str(name), self.classes)}.")
        return {self.classes.index(name) * self.cells + cell: True for cell in self._inside(part)}

    def _inside(self, parts: str) -> list[int]:
        """The cells of parts such as ``[2:4,3] and [5,0]``."""
        return [cell for part in parts.split(" and ") for cell in self._cells(part)]

    def _cells(self, part: str) -> list[int]:
        if not (match := _PART.fullmatch(part)):
            raise InputError(
                f'{part!r} is no part of a map: give rows and columns from 0, as "[2,3]" or, of rows 2 and 3, '
                '"[2:4,3]".'
            )
        spans = []
        for text, size, what in zip(match.groups(), (self.height, self.width), ("rows", "columns"), strict=True):
            first, is_slice, end = text.partition(":")
            spans.append(range(int(first or 0), int(end or size) if is_slice else int(first) + 1))
            if not spans[-1] or spans[-1].stop > size:
                raise InputError(
                    f"the map has no {what} {text}: they are 0 to {size - 1}, and a slice's end is not in."
                )
        return [row * self.width + column for row, column in product(*spans)]

    def _painted(self, file: str) -> dict[int, Setting]:
        """Set every cell from an image of class numbers; if it is larger than the map, each cell takes the most common
        number."""
        try:
            with Image.open(Path(file).expanduser()) as image:
                numbers = np.asarray(image)
        except OSError as error:
            raise InputError(f"map={file} is no image: {error}.") from None
        down, across = (size // cells for size, cells in zip(numbers.shape, (self.height, self.width), strict=False))
        if numbers.ndim != 2 or numbers.shape != (down * self.height, across * self.width) or down * across == 0:
            raise InputError(
                f"map={file} must have one channel and {self.height}x{self.width} pixels, or a whole multiple of both; "
                f"it has the shape {numbers.shape}."
            )
        if numbers.max() >= len(self.classes):
            listed = ", ".join(f"{i} {name}" for i, name in enumerate(self.classes))
            raise InputError(f"map={file} has the number {numbers.max()}; the classes are {listed}.")
        cells = (
            numbers.reshape(self.height, down, self.width, across).swapaxes(1, 2).reshape(self.height, self.width, -1)
        )
        return {
            self.place(f"{self.classes[np.bincount(cells[row, column]).argmax()]}[{row},{column}]"): True
            for row, column in product(range(self.height), range(self.width))
        }

    def seen(self, y: Tensor) -> tuple[str, ...]:
        unknown = self.by_cell(y).isnan().any(0).tolist()
        numbers = self.by_cell(y).argmax(0).tolist()
        return tuple("" if no else self.classes[number] for no, number in zip(unknown, numbers, strict=True))

    def edit(self, own: Sequence[str], wanted: Sequence[str]) -> dict[str, float | str]:
        changed = [cell for cell in range(self.cells) if wanted[cell] not in ("", own[cell])]
        by_class = {
            name: [divmod(cell, self.width) for cell in changed if wanted[cell] == name] for name in self.classes
        }
        return {name: _in_parts(cells) for name, cells in by_class.items() if cells}

    def edited(self, own: Sequence[str], values: Mapping[str, float | str]) -> tuple[str, ...]:
        filled = [place for name, parts in values.items() for place in self._filled(str(name), str(parts))]
        classes = {place % self.cells: self.classes[place // self.cells] for place in filled}
        return tuple(classes.get(cell, name) for cell, name in enumerate(own))

    def said(self, place: int, value: Setting) -> str:
        return self.names[place]

    def listed(self, mask: Tensor) -> list[str]:
        """The cells that a mask [K] selects."""
        cells = self.by_cell(mask).any(0).nonzero().squeeze(1).tolist()
        return [f"[{cell // self.width},{cell % self.width}]" for cell in cells]

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        classes = [self.classes[number] for number in self.by_cell(y).argmax(0)]
        cells = self.by_cell(mask).any(0).nonzero().squeeze(1).tolist()
        return {f"[{cell // self.width},{cell % self.width}]": classes[cell] for cell in cells}

    def words(self, y: Tensor) -> str:
        """How many cells each class has."""
        counts = self.by_cell(y).argmax(0)[~self.by_cell(y).isnan().any(0)].bincount(minlength=len(self.classes))
        return ", ".join(f"{name} {count}" for name, count in zip(self.classes, counts.tolist(), strict=True) if count)

    @property
    def legend(self) -> dict[str, tuple[float, float, float]]:
        return colours(self.classes)

    def picture(self, y: Tensor) -> Tensor:
        cells, colours = self.by_cell(y), torch.tensor(list(self.legend.values()))
        picture = colours[cells.argmax(1)].masked_fill(cells.isnan().any(1)[..., None], 0) * 2 - 1
        return picture.mT.unflatten(-1, (self.height, self.width))


def _in_parts(cells: Iterable[tuple[int, int]]) -> str:
    """The rows and columns of cells as rectangles, each first as wide and then as high as possible."""
    left, parts = set(cells), []
    while left:
        top, first = min(left)
        last, bottom = first, top
        while (top, last + 1) in left:
            last += 1
        while all((bottom + 1, column) in left for column in range(first, last + 1)):
            bottom += 1
        left -= set(product(range(top, bottom + 1), range(first, last + 1)))
        rows, columns = (str(a) if a == b else f"{a}:{b + 1}" for a, b in ((top, bottom), (first, last)))
        parts.append(f"[{rows},{columns}]")
    return " and ".join(parts)


class _Overlap(MulticlassJaccardIndex):
    def __init__(self, readout: ClassMap):
        super().__init__(len(readout.classes), average="none", zero_division=float("nan"))
        self.by_cell = readout.by_cell

    def update(self, decoded: Tensor, labels: Tensor) -> None:
        decoded, labels = self.by_cell(decoded), self.by_cell(labels)
        known = labels.any(1)
        super().update(decoded.argmax(1)[known], labels.argmax(1)[known])
