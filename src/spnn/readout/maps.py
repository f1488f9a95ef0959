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

from spnn.errors import InputError, nearest
from spnn.readout.base import Readout, Setting
from spnn.readout.classes import CLEARLY

__all__ = ["ClassMap"]


class ClassMap(Readout):
    """Scores of R classes in each cell of a grid. Coordinates lie class by class and row by row, named as ``hair[2,3]``
    (row and column, from 0); labels are 1 for a cell's class and 0 for the others, decoded outputs are probabilities. A
    cell is set by ``{"[2,3]": hair}``, and all of them by an image of the classes' numbers, ``{map: painted.png}``.

    Arguments:
        classes: The classes' names, at least two.
        height, width: Cells down and across.
    """

    noun, score, trivial, grouped = "region", "iou", "commonest class of each cell", True
    poles, flips = ("no", "yes"), ("yes",)

    def __init__(self, classes: Sequence[str], height: int, width: int):
        if len(classes) < 2:
            raise InputError(f"a map needs at least two classes, got {list(classes)}.")
        super().__init__([f"{name}[{row},{column}]" for name in classes for row, column in np.ndindex(height, width)])
        self.classes, self.height, self.width = tuple(classes), height, width

    def by_cell(self, y: Tensor) -> Tensor:
        """Coordinates [..., K] as [..., R, cells]."""
        return y.unflatten(-1, (len(self.classes), -1))

    def _spread(self, of_cells: Tensor) -> Tensor:
        """What holds for each cell, [..., cells], for each coordinate, [..., K]."""
        return of_cells.unsqueeze(-2).expand(*of_cells.shape[:-1], len(self.classes), -1).flatten(-2)

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, whose sum over classes is a cell's."""
        return -labels * self.by_cell(y).log_softmax(-2).flatten(-2)

    def metric(self) -> Metric:
        """Intersection over union of each class, [R]."""
        return _Overlap(self)

    @property
    def scored(self) -> tuple[str, ...]:
        return self.classes

    def decode(self, y: Tensor) -> Tensor:
        return self.by_cell(y).softmax(-2).flatten(-2)

    def encode(self, labels: Tensor) -> Tensor:
        return labels.log()

    def shown(self, y: Tensor) -> Tensor:
        return y

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Of a cell as a whole: whether its likeliest class is the same."""
        same = self.by_cell(found).argmax(-2) == self.by_cell(wanted).argmax(-2)
        return self._spread(same)

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        return self.has(found) != self.has(other)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Of a cell as a whole: the total variation between probabilities."""
        return self._spread(self.by_cell((found - wanted).abs()).sum(-2) / 2)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of probabilities."""
        return -(self.by_cell(target).softmax(-2) * self.by_cell(y).log_softmax(-2)).sum()

    def baseline(self, labels: Tensor) -> Tensor:
        """The class that most images have in a cell."""
        return self.has(labels.mean(0)).float()

    def has(self, decoded: Tensor) -> Tensor:
        cells = self.by_cell(decoded)
        return torch.zeros_like(cells, dtype=torch.bool).scatter(-2, cells.argmax(-2, keepdim=True), True).flatten(-2)

    def groups(self, wanted: Tensor) -> list[Tensor]:
        return [self.has(wanted)]

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
                    hint = nearest(str(value), self.classes) or f"; choose from {', '.join(self.classes)}"
                    raise InputError(f"there is no class {value!r}{hint}.")
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

    def together(self, place: int) -> list[int]:
        cells = self.height * self.width
        return [number * cells + place % cells for number in range(len(self.classes))]

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """A cell's class has its largest score, by a clear margin."""
        y = y.clone()
        for k in places:
            others = [other for other in self.together(k) if other != k]
            y[:, others] = torch.minimum(y[:, others], y[:, [k]] - CLEARLY)
        return y

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

    def _has_output(self, place: int, output: float) -> bool:
        return True  # a class is only ever set to be there


class _Overlap(MulticlassJaccardIndex):
    def __init__(self, readout: ClassMap):
        super().__init__(len(readout.classes), average="none")
        self.by_cell = readout.by_cell

    def update(self, decoded: Tensor, labels: Tensor) -> None:
        super().update(self.by_cell(decoded).argmax(1), self.by_cell(labels).argmax(1))
