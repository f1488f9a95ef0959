"""Images whose labels are maps of classes, read from masks, which are images whose pixels are the classes' numbers."""

import sys
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from spnn.data.arrays import cached_arrays
from spnn.data.listed import ListedImages, fingerprint
from spnn.errors import InputError
from spnn.readout import ClassMap

__all__ = ["MaskedImages", "cells_of", "pixels"]


class MaskedImages(ListedImages):
    """Images on disk, with a map of classes for each: a grid over the image's central square, which is the part that
    models see, with the class of most pixels in each cell. Masks may have another size than their image.

    Masks are read once, on all cores, into ``cache_folder``. In place of labels, a subclass lists the paths of each
    image's masks, relative to ``root``; its readout is a :class:`~spnn.readout.ClassMap`.

    Arguments:
        grid: Cells down and across, a divisor of the size; None if labels are no map.
        ignore: The number that marks pixels to ignore, if there is one. A cell with no other pixels is unknown: it adds
            nothing to the loss, and isn't scored.
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.

    Raises:
        InputError: If the size isn't a multiple of the grid, or an option has another impossible value.
    """

    read_mask: Callable[..., np.ndarray]
    """Reads the numbers of an image's classes, uint8 [H, W], from the files of the image and its masks; raises
    InputError if they can't be read."""
    numbers: Sequence[int]
    """The classes' numbers in masks."""

    def __init__(
        self, root: str | Path | None, size: int, *, grid: int | None, ignore: int | None = None, **options: Any
    ):
        super().__init__(root, size, **options)
        if grid is not None and (type(grid) is not int or grid < 1 or size % grid):
            raise InputError(f"data.source.grid must divide the size of {size} pixels, got {grid}.")
        if ignore is not None and (type(ignore) is not int or ignore not in range(256)):
            raise InputError(f"data.ignore must be a number from 0 to 255, or null, got {ignore!r}.")
        self.grid, self.ignore = grid, ignore

    @property
    def map(self) -> ClassMap:
        """The readout, if labels are a map."""
        assert isinstance(self.readout, ClassMap)
        return self.readout

    @abstractmethod
    def masks(self) -> list[tuple[str, ...]]:
        """The files of each listed image's masks, relative to ``root``."""

    @cached_property
    def cells(self) -> dict[str, np.ndarray]:
        """For each listed image: ``cells``, the number that most pixels of a cell have, uint8 [N, grid, grid], or the
        number to ignore where that is unknown; ``highest``, the highest number of its pixels, [N]; and ``readable``,
        [N]."""
        assert self.grid is not None  # without a grid, labels are no map, and there are no masks to read
        root, files = Path(self.where).expanduser(), self._files()
        digest = fingerprint(root, chain(*files), __file__, str(sys.modules[self.read_mask.__module__].__file__))
        key = f"cells of {self.title} grid={self.grid} ignore={self.ignore} files={digest}"
        return cached_arrays(self.cache_folder, key, files, partial(_row, self.read_mask, root, self.grid, self.ignore))

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels of the listed images, bool [N, K]."""
        if self.grid is None:
            return super().labels
        places = np.full(256, len(self.numbers))  # by default, no class: unknown
        places[list(self.numbers)] = np.arange(len(self.numbers))
        return self.map.labels_of(places[self.cells["cells"]])

    @cached_property
    def readable(self) -> np.ndarray:
        readable = super().readable
        if self.grid is None:
            return readable
        good = np.asarray(self.cells["readable"])
        if self.on_bad_image == "error" and not good.all():
            root, bad = Path(self.where).expanduser(), np.flatnonzero(~good)
            try:
                self.read_mask(*(str(root / name) for name in self._files()[bad[0]]))
            except InputError as error:
                raise InputError(
                    f"{error} Mend it, or leave images without a good mask out ({len(bad)} of {len(good)}): "
                    "data.on_bad_image=skip."
                ) from error
        self._without(self.listing, good, "without a mask that can be read")
        return readable[good[readable]]

    def mirror(self, labels: Tensor) -> Tensor:
        return super().mirror(labels) if self.grid is None else self.map.mirror(labels)

    def _files(self) -> list[tuple[str, ...]]:
        """Each listed image and its masks, relative to ``root``."""
        inside = self.listing.folder.relative_to(Path(self.where).expanduser())
        names = zip(self.listing.names.tolist(), self.masks(), strict=True)
        return [((inside / name).as_posix(), *masks) for name, masks in names]


def pixels(path: str | Path, mode: str | None = None) -> np.ndarray:
    """Return the pixels of a mask as they are stored (places in its palette, if it has one), or converted to one of
    Pillow's modes.

    Raises:
        InputError: If it can't be read.
    """
    try:
        with Image.open(path) as file:
            return np.asarray(file if mode is None else file.convert(mode))
    except Exception as error:  # Pillow raises whatever it comes across in a damaged file
        raise InputError(f"{path} can't be read as a mask: {error}.") from error


def cells_of(numbers: np.ndarray, grid: int, ignore: int | None = None) -> np.ndarray:
    """Return the most frequent number in each cell of a grid over a mask's central square; the smaller one in a tie.

    Arguments:
        numbers: The mask, uint8 [H, W].
        grid: Cells down and across. If they don't divide the square, it is enlarged by taking the nearest pixels.
        ignore: The number that doesn't count.

    Returns:
        uint8 [grid, grid]; ``ignore`` where a cell has nothing else.
    """
    side = min(numbers.shape)
    within = -(-side // grid)  # a cell's pixels, down and across
    steps = (np.arange(grid * within) + 0.5) * side / (grid * within)
    rows, columns = (((size - side) / 2 + steps).astype(int) for size in numbers.shape)
    cells = numbers[np.ix_(rows, columns)].reshape(grid, within, grid, within).swapaxes(1, 2).reshape(grid**2, -1)
    counts = np.stack([np.bincount(cell, minlength=256) for cell in cells])
    if ignore is not None:
        counts[:, ignore] = counts.sum(1) == counts[:, ignore]
    return counts.argmax(1).astype(np.uint8).reshape(grid, grid)


def _row(
    read: Callable[..., np.ndarray], root: Path, grid: int, ignore: int | None, files: tuple[str, ...]
) -> dict[str, np.ndarray]:
    try:
        numbers, readable = read(*(str(root / name) for name in files)), True
    except InputError:
        numbers, readable = np.zeros((1, 1), np.uint8), False
    highest = numbers[numbers != ignore].max(initial=0)
    return {"cells": cells_of(numbers, grid, ignore), "highest": highest, "readable": np.array(readable)}
