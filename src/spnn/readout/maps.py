"""A map of classes: which region each cell of a picture belongs to."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from spnn.errors import InputError, choice
from spnn.readout.base import Setting
from spnn.readout.one_of_many import OneOfMany

__all__ = ["ClassMap"]


class ClassMap(OneOfMany):
    """Scores of R classes in each cell of a grid, row by row, named as ``hair[2,3]`` (row and column, from 0). A cell
    is set by ``{"[2,3]": hair}``, and all of them by an image of the classes' numbers, ``{map: painted.png}``.

    Arguments:
        classes: The classes' names, at least two.
        height, width: Cells down and across.
    """

    noun, score, trivial = "region", "iou", "commonest class of each cell"

    def __init__(self, classes: Sequence[str], height: int, width: int):
        if len(classes) < 2:
            raise InputError(f"a map needs at least two classes, got {list(classes)}.")
        cells = list(np.ndindex(height, width))
        super().__init__([f"{name}[{row},{column}]" for name in classes for row, column in cells], len(classes))
        self.classes, self.height, self.width = tuple(classes), height, width

    def metric(self) -> Metric:
        """Intersection over union of each class, [R]; NaN of one that is nowhere."""
        return _Overlap(self)

    @property
    def scored(self) -> tuple[str, ...]:
        return self.classes

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.names, *self.listed(torch.ones(len(self.names), dtype=torch.bool)), "map")

    def check(self, labels: Tensor) -> None:
        super().check(labels)
        if not (((labels == 0) | (labels == 1)).all() and (self.by_cell(labels).sum(1) == 1).all()):
            raise InputError("labels of a map are 1 for a cell's class and 0 for the others; these are not.")

    def read(self, name: str, value: float | str | bool) -> Setting:
        if value in (True, "yes"):
            return True
        raise InputError(f"{name} can't be {value!r}: set what the cell is, '[{name.partition('[')[2]}: <class>'.")

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """``{"[2,3]": hair}``, ``{"hair[2,3]": yes}``, or ``{map: file}``."""
        read: dict[int, Setting] = {}
        for name, value in values.items():
            if name == "map":
                read |= self._painted(str(value))
                continue
            if re.fullmatch(r"\[\d+,\s*\d+\]", str(name)):
                if value not in self.classes:
                    raise InputError(f"there is no class {value!r}{choice(str(value), self.classes)}.")
                name, value = f"{value}{str(name).replace(' ', '')}", True
            read[self.place(str(name))] = self.read(str(name), value)
        cells = [k % (self.height * self.width) for k in read]
        if len(set(cells)) < len(cells):
            raise InputError(f"a cell has one class, but {', '.join(self.names[k] for k in read)} are set.")
        return read

    def _painted(self, file: str) -> dict[int, Setting]:
        """Every cell, by an image of the classes' numbers; of a larger one, the commonest in each cell."""
        try:
            with Image.open(Path(file).expanduser()) as image:
                numbers = np.asarray(image)
        except OSError as error:
            raise InputError(f"map={file} is no image: {error}.") from None
        down, across = (size // cells for size, cells in zip(numbers.shape, (self.height, self.width), strict=False))
        if numbers.ndim != 2 or numbers.shape != (down * self.height, across * self.width) or down * across == 0:
            raise InputError(
                f"map={file} must have one channel and {self.height}x{self.width} pixels, or so many times as many; it "
                f"has the shape {numbers.shape}."
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

    def said(self, place: int, value: Setting) -> str:
        return self.names[place]

    def listed(self, mask: Tensor) -> list[str]:
        """The cells of a mask [K]."""
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


class _Overlap(MulticlassJaccardIndex):
    def __init__(self, readout: ClassMap):
        super().__init__(len(readout.classes), average="none", zero_division=float("nan"))
        self.by_cell = readout.by_cell

    def update(self, decoded: Tensor, labels: Tensor) -> None:
        super().update(self.by_cell(decoded).argmax(1), self.by_cell(labels).argmax(1))
