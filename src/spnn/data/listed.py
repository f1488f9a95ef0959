"""Image files and their labels: the code that all readers of data sets on disk share."""

import hashlib
import logging
import os
from abc import abstractmethod
from collections.abc import Container, Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import PIL

from spnn.data import files
from spnn.data.arrays import ArrayDataset, LabelledImages, cached_arrays
from spnn.data.sources import SPLITS, Source, Split
from spnn.errors import InputError, some_of

__all__ = [
    "SPLITS",
    "ListedImages",
    "Listing",
    "fingerprint",
    "in_order",
    "shuffled_splits",
    "split_folders",
    "subfolders",
]

log = logging.getLogger(__name__)

_FOLDERS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}


class Listing(NamedTuple):
    """Images as files.

    Attributes:
        folder: The folder that they are in.
        names: Their paths in that folder, text [N].
        labels: The labels, [N, K], or where to read them from, text [N].
        split: The place of each image's split in :data:`SPLITS`, [N].
    """

    folder: Path
    names: np.ndarray
    labels: np.ndarray
    split: np.ndarray

    def select(self, rows: np.ndarray) -> "Listing":
        """Some of the images."""
        return Listing(self.folder, self.names[rows], self.labels[rows], self.split[rows])


def in_order(count: int) -> np.ndarray:
    """Split images in their order: 80 % train, 10 % val, 10 % test."""
    return np.repeat([0, 1, 2], np.diff([0, count * 8 // 10, count * 9 // 10, count]))


def subfolders(place: Path) -> list[Path]:
    """The folders in a folder, sorted by name, except for those that operating systems leave behind."""
    hidden = {"__MACOSX"}
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in hidden)


def split_folders(root: Path) -> dict[int | None, Path]:
    """Return the folders ``train``, ``val`` and ``test`` in a folder, by the split's place. Without ``train``, there
    are no splits, and the key None stands for the folder itself.

    Raises:
        InputError: If there are other folders beside these.
    """
    folders = subfolders(root)
    splits = {_FOLDERS[folder.name.lower()]: folder for folder in folders if folder.name.lower() in _FOLDERS}
    if 0 not in splits:
        return {None: root}
    if others := [folder.name for folder in folders if folder.name.lower() not in _FOLDERS]:
        raise InputError(f"{root} has the folder of a split, train, and others: {some_of(others, 5)}. Remove these.")
    return dict(sorted(splits.items()))


def shuffled_splits(
    split: int | None, count: int, there: Container[int | None], random: np.random.Generator
) -> list[int]:
    """Return the splits of images that belong together, such as those of one class.

    Arguments:
        split: The split whose folder they are in; None if there are no splits, which splits them 80/10/10.
        count: The number of images.
        there: The splits that have folders. A tenth of the training images takes the place of a missing one.
        random: Shuffles them.
    """
    if split is None:
        return random.permutation(in_order(count)).tolist()
    missing = [other for other in (1, 2) if other not in there and split == 0]
    taken = [other for other in missing for _ in range(max(1, count // 10))]
    return random.permutation([*taken, *[split] * (count - len(taken))]).tolist()


def fingerprint(folder: Path, names: Iterable[str], *code: str) -> str:
    """A digest of everything that affects what is read from a folder: its files, and the modules that read them."""
    facts = hashlib.sha256(b"".join(Path(module).read_bytes() for module in code) + PIL.__version__.encode())
    for name in names:
        status = os.stat(os.path.join(folder, name))  # there may be half a million
        facts.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return facts.hexdigest()


class _Files:
    """Images that are decoded when they are indexed, as if they were an array uint8 [N, H, W, C]."""

    def __init__(self, paths: list[str], image_shape: tuple[int, int, int]):
        self.paths, self.image_shape = paths, image_shape

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        try:
            return np.stack([files.decode_image(self.paths[row], self.image_shape) for row in rows])
        except InputError as error:
            raise InputError(f"{error} Replace the file, or leave it out: data.on_bad_image=skip.") from error


class ListedImages(Source):
    """Images on disk. A subclass finds and lists them, see :meth:`read`.

    Arguments:
        root: Folder of the data set; its parts are found in nested folders, too.
        size: Height and width that images are cropped and resized to, in pixels.
        cache: Decode all images once, to uint8 arrays in ``cache_folder`` (3 size² bytes each) that later runs map
            into memory, instead of decoding them again in each epoch.
        cache_folder: The folder for these arrays.
        on_bad_image: What to do about files that are missing or can't be decoded: ``error`` names them and stops,
            ``skip`` leaves them out and logs how many; it decodes all images once to find them.

    Raises:
        InputError: If an option has an impossible value; or, when the images are first needed, if they can't be read.
    """

    title: ClassVar[str]
    """The data set's name in messages."""

    def __init__(
        self,
        root: str | Path | None,
        size: int,
        *,
        cache: bool = False,
        cache_folder: str | Path = "outputs/cache",
        on_bad_image: Literal["error", "skip"] = "error",
    ):
        if not isinstance(size, int) or size < 1:
            raise InputError(f"the size of images must be a whole number of pixels, got {size!r}.")
        if on_bad_image not in ("error", "skip"):
            raise InputError(f"data.on_bad_image is 'error' or 'skip', not {on_bad_image!r}.")
        self.root, self.image_shape = root, (3, size, size)
        self.cache, self.cache_folder, self.on_bad_image = cache, cache_folder, on_bad_image

    @property
    def where(self) -> str | Path:
        """The data set's folder.

        Raises:
            InputError: If none was given.
        """
        if self.root is None:
            raise InputError(
                f"{self.title} needs a folder: data.root=<folder>. Without any data set, data=synthetic_faces runs on "
                "rendered faces."
            )
        return self.root

    @abstractmethod
    def read(self) -> Listing:
        """List the images below the data set's folder, whether they are there or not.

        Raises:
            InputError: If a part of the data set is missing or damaged.
        """

    @cached_property
    def listing(self) -> Listing:
        """The images that are there, in all splits."""
        listing = self.read()
        # List each folder once, instead of looking for each file.
        parts = [os.path.split(name) for name in listing.names.tolist()]
        parents = [parent for parent in {parent for parent, _ in parts} if (listing.folder / parent).is_dir()]
        there = {(parent, name) for parent in parents for name in os.listdir(listing.folder / parent)}
        return self._without(listing, np.array([part in there for part in parts]), f"missing in {listing.folder}")

    def check(self) -> None:
        _ = self.listing

    def prepare(self) -> None:
        _ = self.readable

    @property
    def paths(self) -> list[str]:
        """The paths of the listed images."""
        return [str(self.listing.folder / name) for name in self.listing.names.tolist()]

    @property
    def labels(self) -> np.ndarray:
        """The labels of the listed images, [N, K]."""
        return self.listing.labels

    @cached_property
    def decoded(self) -> dict[str, np.ndarray]:
        """For each listed image, ``readable``, bool [N], and ``images``, uint8 [N, H, W, 3], if these are kept."""
        kind, listing = "images" if self.cache else "readable", self.listing
        digest = fingerprint(listing.folder, listing.names.tolist(), files.__file__)
        key = f"{kind} of {self.title} size={self.image_shape[1]} files={digest}"
        return cached_arrays(self.cache_folder, key, self.paths, partial(_decode, self.image_shape, self.cache))

    @cached_property
    def readable(self) -> np.ndarray:
        """The places of the listed images, [N], except for those that are known to be unreadable."""
        readable = np.ones(len(self.listing.names), dtype=bool)
        if self.cache or self.on_bad_image == "skip":  # otherwise bad images show up when they are loaded
            readable = np.asarray(self.decoded["readable"])
            self._without(self.listing, readable, "unreadable")
        return np.flatnonzero(readable)

    def split(self, name: Split) -> LabelledImages:
        rows = self.readable[self.listing.split[self.readable] == SPLITS.index(name)]
        images = self.decoded["images"] if self.cache else _Files(self.paths, self.image_shape)
        return ArrayDataset(images, self.labels[rows], self.paths, rows)

    def _without(self, listing: Listing, good: np.ndarray, otherwise: str) -> Listing:
        """Keep the good images of all splits. Bad ones are logged or raise InputError, as ``on_bad_image`` demands."""
        if not good.all():
            bad = [str(listing.folder / name) for name in listing.names[~good]]
            found = f"{len(bad)} of {len(good)} images of {self.title} are {otherwise}: {some_of(bad, 5)}"
            if self.on_bad_image == "error":
                raise InputError(
                    f"{found}. Unpack or download these again, or leave such images out: data.on_bad_image=skip."
                )
            log.warning("left out: %s", found)
            listing = listing.select(good)
        counts = np.bincount(listing.split, minlength=3)
        if not counts.all():
            shown = ", ".join(f"{count} {name}" for name, count in zip(SPLITS, counts, strict=True))
            raise InputError(f"{self.title} has no images in the split {SPLITS[counts.argmin()]!r} ({shown}).")
        return listing


def _decode(image_shape: tuple[int, int, int], keep: bool, path: str) -> dict[str, np.ndarray]:
    channels, height, width = image_shape
    try:
        image, good = files.decode_image(path, image_shape), True
    except InputError:
        image, good = np.zeros((height, width, channels), np.uint8), False
    readable = np.array(good)
    return {"images": image, "readable": readable} if keep else {"readable": readable}
