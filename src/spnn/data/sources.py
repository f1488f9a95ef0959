"""Where images and their labels come from. A source names the labels and gives three splits.

Faces, digits or a user's own images are the same to the rest of the project.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset

from spnn.data import faces
from spnn.data.arrays import ArrayDataset, cached_arrays
from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.face_labels import FACE_LABELS, FaceLabels
from spnn.errors import InputError
from spnn.readout import Binary, Readout, Values

__all__ = ["SPLITS", "Digits", "Source", "Split", "SyntheticFaces"]

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Source(ABC):
    """Images with labels: yes-or-no answers, unless :attr:`readout` is another."""

    label_names: tuple[str, ...]
    """Names of the K labels, in order."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    label_ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """The least and the greatest value, by name, of labels that are numbers."""
    label_units: Mapping[str, str] = MappingProxyType({})
    """Their units, such as ``°``."""

    @cached_property
    def readout(self) -> Readout:
        """What the labels are, and the outputs of networks that predict them."""
        return Binary(self.label_names)

    def prepare(self) -> None:  # noqa: B027 - most sources have nothing to prepare
        """Do once, in one process, what takes long and ends on disk."""

    def check(self) -> None:  # noqa: B027 - most sources are always there
        """Raise InputError if the images are not there; quick."""

    def mirror(self, labels: Tensor) -> Tensor:
        """Labels [B, K] of images that were mirrored: the same, unless they say where something is."""
        return labels

    @abstractmethod
    def split(self, name: Split) -> Dataset:
        """A data set of dictionaries ``image`` uint8 [C, H, W], ``labels`` float [K], and ``index``.

        It has ``labels``, all of them as an array [N, K], and ``name(index)``, what an image is called.
        """


class SyntheticFaces(Source):
    """Rendered faces with the 40 attributes of CelebA (see :mod:`spnn.data.faces`), or with what is measured in them
    (see :mod:`spnn.data.faces.measures`).

    Arguments:
        size: Height and width in pixels.
        train, val, test: Number of faces in each split.
        seed: Seed of the renderer; another seed, other faces.
        cache: Folder where the rendered faces are kept.
        labels: ``attributes``, yes or no; ``values``, such as ``tilt`` in degrees; ``points``, such as ``nose_x`` in
            [0, 1] of the width; or ``regions``, yes or no for each region and cell of a coarse map, such as
            ``hair[2,3]`` (row and column, from 0).
        grid: Cells of that map, down and across; a divisor of the size.

    Raises:
        InputError: If an option has an impossible value.
    """

    label_names = CELEBA_ATTRIBUTES

    def __init__(
        self,
        size: int,
        train: int,
        val: int,
        test: int,
        seed: int,
        cache: str | Path,
        labels: Literal["attributes", "values", "points", "regions"] = "attributes",
        grid: int = 8,
    ):
        if size < 16 or min(train, val, test) < 1:
            raise InputError(
                f"synthetic faces need a size of at least 16 and one face per split, got size {size}, "
                f"{train} + {val} + {test} faces."
            )
        if labels != "attributes" and labels not in FACE_LABELS:
            raise InputError(f"labels of synthetic faces are attributes, {', '.join(FACE_LABELS)}; got {labels!r}.")
        if labels == "regions" and (grid < 1 or size % grid):
            raise InputError(f"grid must divide the size of {size} pixels, got {grid}.")
        self.image_shape = (3, size, size)
        self.size, self.seed, self.cache, self.counts = size, seed, cache, [train, val, test]
        self.measured: FaceLabels | None = None
        if labels != "attributes":
            self.measured = FACE_LABELS[labels](size, grid)
            self.label_names = self.measured.names
            self.label_ranges = {name: (of.low, of.high) for name, of in self.measured.measures.items()}
            self.label_units = {name: of.unit for name, of in self.measured.measures.items()}

    @cached_property
    def readout(self) -> Readout:
        return Values(self.label_names) if self.label_ranges else Binary(self.label_names)

    def prepare(self) -> None:
        _ = self.arrays, self.labels

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All faces of all splits: ``images`` uint8 [N, H, W, 3] and ``attributes`` bool [N, 40]."""
        count = sum(self.counts)
        # The renderer's own source is part of the key: after a change of it, old faces are not found.
        key = f"faces size={self.size} seed={self.seed} count={count} renderer={renderer_digest()}"
        return cached_arrays(self.cache, key, range(count), partial(_render, self.seed, self.size))

    @cached_property
    def labels(self) -> np.ndarray:
        """Those of all faces: float32 [N, K] for values and points, else bool [N, K]."""
        if self.measured is None:
            return self.arrays["attributes"]
        count = sum(self.counts)
        key = f"{self.measured.key} of faces seed={self.seed} count={count} measures={measures_digest()}"
        kept = cached_arrays(self.cache, key, range(count), partial(_measure, self.measured, self.seed))
        return self.measured.expand(kept["labels"])

    def mirror(self, labels: Tensor) -> Tensor:
        return labels if self.measured is None else self.measured.mirror(labels)

    def split(self, name: Split) -> Dataset:
        place = SPLITS.index(name)
        part = slice(sum(self.counts[:place]), sum(self.counts[: place + 1]))
        return ArrayDataset(self.arrays["images"][part], self.labels[part])


def renderer_digest() -> str:
    """SHA-256 of the renderer's source: all files of its package, and the attributes, whose order it draws in.

    Measures lie in a package below, and are no part of it.
    """
    package = Path(faces.__file__).parent
    return _digest([package.with_name("attributes.py"), *sorted(package.glob("*.py"))])


def measures_digest() -> str:
    """Digests of the source of measures, and of the renderer, which they look at."""
    measures = Path(faces.__file__).parent / "measures"
    return _digest(sorted(measures.glob("*.py"))) + renderer_digest()


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _render(seed: int, size: int, index: int) -> dict[str, np.ndarray]:
    image, attributes = faces.make_face(seed, index, size)
    return {"images": image, "attributes": attributes}


def _measure(measured: FaceLabels, seed: int, index: int) -> dict[str, np.ndarray]:
    return {"labels": measured.row(seed, index)}


class Digits(Source):
    """The 1,797 handwritten digits of scikit-learn, 8x8 pixels, with ten labels: which digit it is.

    Arguments:
        seed: Seed of the shuffle before the 80/10/10 split.
    """

    label_names = tuple(f"digit_{i}" for i in range(10))
    image_shape = (1, 8, 8)

    def __init__(self, seed: int = 0):
        digits = load_digits()
        order = np.random.default_rng(seed).permutation(len(digits.images))
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[order, ..., None]
        labels = np.eye(10, dtype=bool)[digits.target[order]]
        ends = [len(order) * 8 // 10, len(order) * 9 // 10]
        parts = map(ArrayDataset, np.split(images, ends), np.split(labels, ends))
        self.splits = dict(zip(SPLITS, parts, strict=True))

    def split(self, name: Split) -> Dataset:
        return self.splits[name]
