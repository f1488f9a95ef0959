"""Images as files, listed in a table of attributes: what all readers of data sets on disk share."""

import hashlib
import logging
import os
from abc import abstractmethod
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import PIL
import torch
from torch.utils.data import Dataset

from spnn.data import files as decoder
from spnn.data.arrays import ArrayDataset, cached_arrays
from spnn.data.files import decode_image
from spnn.data.sources import Source, Split
from spnn.errors import InputError, some_of

__all__ = ["SPLITS", "FileDataset", "ListedImages", "Listing", "in_order"]

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Listing(NamedTuple):
    """Images as files.

    Attributes:
        folder: Where they lie.
        names: Their paths in there, text [N].
        attributes: bool [N, K].
        split: The place of each one's split in :data:`SPLITS`, [N].
    """

    folder: Path
    names: np.ndarray
    attributes: np.ndarray
    split: np.ndarray

    def select(self, rows: np.ndarray) -> "Listing":
        """Some of the images."""
        return Listing(self.folder, self.names[rows], self.attributes[rows], self.split[rows])

    def path(self, row: int) -> Path:
        """Of one image."""
        return self.folder / str(self.names[row])


def in_order(count: int) -> np.ndarray:
    """Splits of images in their order: 80 % train, 10 % val, 10 % test."""
    return np.repeat([0, 1, 2], np.diff([0, count * 8 // 10, count * 9 // 10, count]))


class FileDataset(Dataset):
    """Images decoded as they are asked for; items as those of :class:`~spnn.data.arrays.ArrayDataset`.

    Arguments:
        listing: The files.
        image_shape: (C, H, W) to decode them to.
    """

    def __init__(self, listing: Listing, image_shape: tuple[int, int, int]):
        self.listing, self.image_shape = listing, image_shape
        self.attributes = listing.attributes

    def __len__(self) -> int:
        return len(self.listing.names)

    def name(self, index: int) -> str:
        return str(self.listing.path(index))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Decode an image.

        Raises:
            InputError: If the file can't be read.
        """
        try:
            image = decode_image(self.listing.path(index), self.image_shape)
        except InputError as error:
            raise InputError(f"{error} Replace the file, or leave it out: data.on_bad_image=skip.") from error
        return {
            "image": torch.from_numpy(image.copy()).permute(2, 0, 1),
            "attributes": torch.from_numpy(self.attributes[index].astype(np.float32)),
            "index": torch.tensor(index),
        }


class ListedImages(Source):
    """Images on disk. A subclass finds and lists them, see :meth:`read`.

    Arguments:
        root: Folder of the data set; its parts are found in nested folders, too.
        size: Height and width to which images are cropped and resized, in pixels.
        cache: Decode all images once, to uint8 arrays in ``cache_folder`` (3 size² bytes each) that later runs map
            into memory, instead of in each epoch anew.
        cache_folder: Where these go.
        on_bad_image: What to do about files that are missing or can't be decoded: ``error`` names them and stops,
            ``skip`` leaves them out and logs how many; to know them, it decodes all images once.

    Raises:
        InputError: If an option has an impossible value; when the images are first needed, if they can't be read.
    """

    title: ClassVar[str]
    """What the data set is called in messages."""

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
        self.cache, self.cache_folder, self.on_bad_image = cache, Path(cache_folder), on_bad_image

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
        present = _present(listing)
        if not present.all():
            absent = [str(name) for name in listing.names[~present]]
            self._leave_out(f"missing in {listing.folder}", absent, len(listing.names))
            listing = listing.select(present)
        return _with_all_splits(listing, self.title)

    def check(self) -> None:
        _ = self.listing

    def prepare(self) -> None:
        _ = self.usable

    @cached_property
    def decoded(self) -> dict[str, np.ndarray] | None:
        """Of each listed image: ``readable``, bool [N], and ``images``, uint8 [N, H, W, 3], if there is a cache; None
        if no image needs to be decoded in advance."""
        if not self.cache and self.on_bad_image == "error":
            return None
        # All that changes the pixels: the files, the size, and the code that decodes them.
        facts = hashlib.sha256(Path(decoder.__file__).read_bytes())
        for row, name in enumerate(self.listing.names):
            status = os.stat(self.listing.path(row))
            facts.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        facts.update(PIL.__version__.encode())
        kind = "images" if self.cache else "readable"
        key = f"{kind} of {self.title} size={self.image_shape[1]} files={facts.hexdigest()}"
        make = partial(_decode_rows, self.listing, self.image_shape, self.cache)
        return cached_arrays(self.cache_folder, key, len(self.listing.names), make)

    @cached_property
    def usable(self) -> np.ndarray:
        """Which of the listed images can be decoded, as far as that is known, [N]."""
        if self.decoded is None:
            return np.ones(len(self.listing.names), dtype=bool)
        readable = np.asarray(self.decoded["readable"])
        if not readable.all():
            unreadable = [str(self.listing.path(row)) for row in np.flatnonzero(~readable)]
            self._leave_out("unreadable", unreadable, len(readable))
            _with_all_splits(self.listing.select(readable), self.title)
        return readable

    def split(self, name: Split) -> Dataset:
        rows = np.flatnonzero(self.usable & (self.listing.split == SPLITS.index(name)))
        chosen = self.listing.select(rows)
        if not self.cache:
            return FileDataset(chosen, self.image_shape)
        return ArrayDataset(self.decoded["images"], chosen.attributes, lambda row: str(chosen.path(row)), rows)

    def _leave_out(self, what: str, names: list[str], of: int) -> None:
        """Log that images are left out, or raise InputError, as ``on_bad_image`` says."""
        found = f"{len(names)} of {of} images of {self.title} are {what}: {some_of(names, 5)}"
        if self.on_bad_image == "error":
            raise InputError(
                f"{found}. Unpack or download these anew, or leave such images out: data.on_bad_image=skip."
            )
        log.warning("left out: %s", found)


def _present(listing: Listing) -> np.ndarray:
    """Whether each file is there, [N]: one look into each folder, not one at each file."""
    parts = [os.path.split(name) for name in listing.names.tolist()]
    places = {parent: listing.folder / parent for parent in {parent for parent, _ in parts}}
    files = {parent: set(os.listdir(place)) if place.is_dir() else set() for parent, place in places.items()}
    return np.array([name in files[parent] for parent, name in parts])


def _with_all_splits(listing: Listing, title: str) -> Listing:
    counts = np.bincount(listing.split, minlength=3)
    if not counts.all():
        shown = ", ".join(f"{count} {name}" for name, count in zip(SPLITS, counts, strict=True))
        raise InputError(f"{title} has no images in the split {SPLITS[counts.argmin()]!r} ({shown}).")
    return listing


def _decode_rows(
    listing: Listing, image_shape: tuple[int, int, int], keep: bool, first: int, last: int
) -> dict[str, np.ndarray]:
    channels, height, width = image_shape
    images = np.zeros((last - first, height, width, channels), np.uint8)
    readable = np.ones(last - first, dtype=bool)
    for i in range(last - first):
        try:
            images[i] = decode_image(listing.path(first + i), image_shape)
        except InputError:
            readable[i] = False
    return {"images": images, "readable": readable} if keep else {"readable": readable}
