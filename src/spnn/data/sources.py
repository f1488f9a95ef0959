"""Where images and their labels come from. A source names the labels and gives three splits.

The rest of the project treats faces, digits and a user's own images in the same way.
"""

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from spnn.data import faces
from spnn.data.arrays import ArrayDataset, LabelledImages, cached_arrays
from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.face_labels import FACE_LABELS, FaceLabels
from spnn.errors import InputError, told
from spnn.readout import Binary, Classes, Mixed, Readout, Values

__all__ = ["SPLITS", "Digits", "Source", "Split", "SyntheticFaces", "check_split"]

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Source(ABC):
    """Images with labels: yes-or-no answers, unless :attr:`readout` is overridden."""

    label_names: tuple[str, ...]
    """Names of the K labels, in order."""
    image_shape: tuple[int, int, int]
    """(C, H, W)."""
    licence: str | None = None
    """The licence of the images and labels, and so of models trained on them, if it is known."""

    @cached_property
    def readout(self) -> Readout:
        """What the labels mean, and the outputs of networks that predict them."""
        return Binary(self.label_names)

    def facts(self) -> list:
        """The facts about the labels that a run keeps, as JSON: their names, in order, or more."""
        return list(self.label_names)

    def recall(self, facts: list) -> None:
        """Restore the labels from the facts that a run has kept, whatever the data say by now."""
        self.label_names = tuple(facts)

    def prepare(self) -> None:  # noqa: B027 - most sources have nothing to prepare
        """Do slow work that writes to disk; called once, in one process."""

    def check(self) -> None:  # noqa: B027 - most sources are always there
        """Raise InputError if the images are not there; this must be quick."""

    def mirror(self, labels: Tensor) -> Tensor:
        """The labels [B, K] of mirrored images: the same, unless they describe positions."""
        return labels

    @abstractmethod
    def split(self, name: Split) -> LabelledImages:
        """The images of a split."""


def check_split(source: Source, name: Split) -> None:
    """Check all labels and the first image of a split.

    Raises:
        InputError: If the split is empty, its labels don't fit the readout, or the image is not uint8 of the source's
            shape.
    """
    of = f"the split {name!r} of {type(source).__name__}"
    with told(f"{of} can't be had"):
        split = source.split(name)
    if not hasattr(split, "__getitem__") or not hasattr(split, "labels"):
        raise InputError(
            f"{of} must be a data set with `labels`, such as spnn.data.ArrayDataset(images, labels), got "
            f"{type(split).__name__}."
        )
    if len(split) == 0:
        raise InputError(f"{of} has no images.")
    labels = torch.as_tensor(np.array(split.labels))  # copied, because labels on disk may be read-only
    if labels.shape != (len(split), len(source.label_names)):
        raise InputError(
            f"{of} has labels of shape {tuple(labels.shape)}, expected a row for each of its {len(split)} images and a "
            f"column for each of its {len(source.label_names)} names."
        )
    try:
        source.readout.check(labels.float())
    except InputError as error:
        raise InputError(f"{of}: {error}") from None
    item = split[0]
    image = item["image"]
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or tuple(image.shape) != tuple(source.image_shape):
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise InputError(
            f"the first image of {of} is {found}, expected torch.uint8 {list(source.image_shape)}: bytes from 0 to 255."
        )
    if item["labels"].dtype != torch.float32 or len(item["labels"]) != len(source.label_names):
        raise InputError(
            f"the first labels of {of} are {item['labels'].dtype} {list(item['labels'].shape)}, expected torch.float32 "
            f"[{len(source.label_names)}]."
        )


class SyntheticFaces(Source):
    """Rendered faces with the 40 attributes of CelebA (see :mod:`spnn.data.faces`), or with what is measured in them
    (see :mod:`spnn.data.faces.measures`).

    Arguments:
        size: Height and width in pixels.
        train, val, test: Number of faces in each split.
        seed: Seed of the renderer; another seed gives other faces.
        cache: Folder where the rendered faces are kept.
        labels: ``attributes``, yes or no; ``values``, such as ``tilt`` in degrees; ``points``, such as ``nose_x`` in
            [0, 1] of the width; or ``regions``, a coarse map of the region that each cell shows most of, such as
            ``hair[2,3]`` (row and column, from 0).
        grid: Cells of that map, down and across; a divisor of the size.

    Raises:
        InputError: If an option has an impossible value.
    """

    label_names = CELEBA_ATTRIBUTES
    licence = "MIT, the package's own: it renders them"

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
        self.splits: dict[str, LabelledImages] = {}
        self.measured: FaceLabels | None = None
        if labels != "attributes":
            self.measured = FACE_LABELS[labels](size, grid)
            self.label_names = self.measured.names

    @cached_property
    def readout(self) -> Readout:
        return super().readout if self.measured is None else self.measured.readout

    def prepare(self) -> None:
        for name in SPLITS:
            self.split(name)

    def mirror(self, labels: Tensor) -> Tensor:
        return labels if self.measured is None else self.measured.mirror(labels)

    def split(self, name: Split) -> LabelledImages:
        if name not in self.splits:  # rendered separately, so that held-out faces alone take only seconds
            place = SPLITS.index(name)
            places = range(sum(self.counts[:place]), sum(self.counts[: place + 1]))
            self.splits[name] = ArrayDataset(*self._images_and_labels(places))
        return self.splits[name]

    def _images_and_labels(self, places: range) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8 [N, H, W, 3], and labels: float32 [N, K] for values and points, bool [N, K] otherwise."""
        which = f"seed={self.seed} faces={places.start}-{places.stop}"
        # The renderer's own source is part of the key, so faces are rendered again after it has changed.
        key = f"faces size={self.size} {which} renderer={renderer_digest()}"
        rendered = cached_arrays(self.cache, key, places, partial(_render, self.seed, self.size))
        if self.measured is None:
            return rendered["images"], rendered["attributes"]
        key = f"{self.measured.key} of faces {which} measures={measures_digest()}"
        measured = cached_arrays(self.cache, key, places, partial(_measure, self.measured, self.seed))
        return rendered["images"], self.measured.expand(measured["labels"])


def renderer_digest() -> str:
    """SHA-256 of the renderer's source: all files of its package, and the attributes, which it draws in their order.

    The measures, in a package below, are not part of it.
    """
    package = Path(faces.__file__).parent
    return _digest([package.with_name("attributes.py"), *sorted(package.glob("*.py"))])


def measures_digest() -> str:
    """Digests of the source of the measures and of the renderer, which they depend on."""
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
    """The 1,797 handwritten digits of scikit-learn, 8x8 pixels.

    Arguments:
        seed: Seed of the shuffle before the 80/10/10 split.
        labels: ``attributes``, ten yes-or-no answers; ``classes``, one class of ten; ``ink``, the share of an image
            that is ink, in per cent; or ``mixed``, the class and the ink.

    Raises:
        InputError: If there are no such labels.
    """

    label_names = tuple(f"digit_{i}" for i in range(10))
    image_shape = (1, 8, 8)
    licence = (
        "CC BY 4.0; Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49"
    )

    def __init__(self, seed: int = 0, labels: Literal["attributes", "classes", "ink", "mixed"] = "attributes"):
        digits = load_digits()
        order = np.random.default_rng(seed).permutation(len(digits.images))
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[order, ..., None]
        digit, ink = np.eye(10, dtype=bool)[digits.target[order]], images.mean((1, 2, 3))[:, None] * (100 / 255)
        classes = Classes([str(i) for i in range(10)], group="digit")
        amount = Values(["ink"], ranges={"ink": (20, 40)}, units={"ink": "%"})
        kinds: dict[str, tuple[Readout, np.ndarray]] = {
            "attributes": (Binary(self.label_names), digit),
            "classes": (classes, digit),
            "ink": (amount, ink),
            "mixed": (Mixed([classes, amount]), np.concatenate([digit, ink], axis=1)),
        }
        if labels not in kinds:
            raise InputError(f"digits have the labels {', '.join(kinds)}, not {labels!r}.")
        self.readout, labels_ = kinds[labels]
        self.label_names = self.readout.names
        ends = [len(order) * 8 // 10, len(order) * 9 // 10]
        parts = map(ArrayDataset, np.split(images, ends), np.split(labels_, ends))
        self.splits = dict(zip(SPLITS, parts, strict=True))

    def split(self, name: Split) -> LabelledImages:
        return self.splits[name]
