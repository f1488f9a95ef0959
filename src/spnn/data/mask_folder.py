"""Your own images, with a mask for each."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spnn.data.files import suffixes, upright_size
from spnn.data.listed import Listing, shuffled_splits, split_folders
from spnn.data.masks import MaskedImages, pixels
from spnn.errors import InputError, some_of
from spnn.readout import ClassMap, Readout

__all__ = ["MaskFolder"]


def read_picture(image: str, mask: str) -> np.ndarray:
    """Return the numbers of a mask's pixels, uint8 [H, W].

    Raises:
        InputError: If the mask has several channels, numbers beyond 255, or other proportions than its upright image.
    """
    numbers = pixels(mask)
    if numbers.ndim != 2:
        raise InputError(
            f"{mask} has {numbers.shape[2]} channels: a mask has one, or a palette, and its pixels are the classes' "
            "numbers, not their colours."
        )
    if numbers.dtype.kind == "f" or numbers.max() > 255 or numbers.min() < 0:
        raise InputError(f"{mask} has the number {numbers.max()}: those of classes are whole, from 0 to 255.")
    (height, width), (across, down) = numbers.shape, upright_size(image)
    if min(abs(width - height * across / down), abs(height - width * down / across)) > 1:  # beyond rounding
        raise InputError(
            f"{mask} has {width}x{height} pixels, and its image {across}x{down}: they must have the same proportions."
        )
    return numbers.astype(np.uint8)


class MaskFolder(MaskedImages):
    """A folder of images and a folder of masks, PNGs of the same names: ``images/1.jpg`` and ``masks/1.png``.

    A mask's pixels are the numbers of their classes. Both files may be in subfolders, as in ``images/a/1.jpg`` and
    ``masks/a/1.png``. With splits, they are in ``train/images`` and ``train/masks``, or in ``images/train`` and
    ``masks/train``, and likewise for ``val`` and ``test``; a tenth of the training images takes the place of a missing
    one. Without splits, images are shuffled and split 80/10/10.

    The file ``classes.txt`` may name the classes, a line for each number from 0. Without it, the classes are those
    numbers that are the most frequent in at least one cell, and they are called ``class 0`` and so on.

    Arguments:
        root: The folder with these two folders.
        images, masks: The names of the two folders.
        seed: Seed of the shuffle.
        **options: ``size``, ``grid``, ``ignore``, ``cache``, ``cache_folder``, ``on_bad_image``, see
            :class:`~spnn.data.masks.MaskedImages`.
    """

    title = "the mask folder"
    read_mask = staticmethod(read_picture)

    def __init__(
        self, root: str | Path | None, *, images: str = "images", masks: str = "masks", seed: int = 0, **options: Any
    ):
        super().__init__(root, **options)
        self.folders, self.seed = (images, masks), seed

    @cached_property
    def classes(self) -> dict[int, str]:
        """The classes' names, by their numbers in masks."""
        path = Path(self.where).expanduser() / "classes.txt"
        if path.is_file():
            try:
                names = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
            except UnicodeDecodeError as error:
                raise InputError(f"{path} is no text in UTF-8: {error}.") from None
            if "" in names or len(set(names)) < len(names) or len(names) > 256:
                raise InputError(
                    f"{path} must hold a different name in each line, at most 256, got {some_of(names, 9)}."
                )
            named = dict(enumerate(names))
        else:
            found = np.unique(self.cells["cells"][self.readable]).tolist()
            named = {number: f"class {number}" for number in found}
        if self.ignore is not None:
            named.pop(self.ignore, None)
        if len(named) < 2:
            raise InputError(
                f"a map needs two classes or more, but {path if path.is_file() else self.root} has "
                f"{', '.join(named.values()) or 'none'}, beside the number {self.ignore}, which is ignored "
                "(data.ignore=null: not)."
            )
        return named

    @property
    def numbers(self) -> list[int]:  # type: ignore[override]  # computed: masks are read first
        return list(self.classes)

    @property
    def label_names(self) -> tuple[str, ...]:  # type: ignore[override]  # computed: masks are read first
        return self.readout.names

    @cached_property
    def readout(self) -> Readout:
        assert self.grid is not None
        return ClassMap(tuple(self.classes.values()), self.grid, self.grid)

    def facts(self) -> list:
        return [*self.classes.items()]

    def recall(self, facts: list) -> None:
        self.classes = dict(facts)

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        root, random = Path(self.where).expanduser(), np.random.default_rng(self.seed)
        if not root.is_dir():
            raise InputError(f"data.root={self.root} is not a folder (looked from {Path.cwd()}).")
        pairs = self._pairs(root)
        names, masks, splits = [], [], []
        for split, (images_in, masks_in) in pairs.items():
            images, drawn = _by_stem(images_in, suffixes()), _by_stem(masks_in, {".png"})
            stems = sorted({*images, *drawn})
            names += [images.get(stem, images_in / f"{stem}.*").relative_to(root).as_posix() for stem in stems]
            masks += [drawn[stem].relative_to(root).as_posix() if stem in drawn else "" for stem in stems]
            splits += shuffled_splits(split, len(stems), pairs, random)
        listing = Listing(root, np.array(names), np.array(masks), np.array(splits))
        return self._without(listing, listing.labels != "", f"without a mask, a PNG of their name in {self.folders[1]}")

    def masks(self) -> list[tuple[str, ...]]:
        return [(mask,) for mask in self.listing.labels.tolist()]

    @cached_property
    def labels(self) -> np.ndarray:
        highest = np.asarray(self.cells["highest"])
        if (Path(self.where).expanduser() / "classes.txt").is_file() and highest.max() > max(self.classes):
            worst = highest.argmax()
            raise InputError(
                f"{self.listing.labels[worst]} has the number {highest[worst]}, but classes.txt names those from 0 to "
                f"{max(self.classes)}: add lines to it, or ignore that one (data.ignore={highest[worst]})."
            )
        return super().labels

    def _pairs(self, root: Path) -> dict[int | None, tuple[Path, Path]]:
        """The folders of images and of their masks, by the split's place; the key is None if there are no splits."""
        images, masks = (root / name for name in self.folders)
        if images.is_dir():
            pairs = {
                split: (folder, masks / folder.relative_to(images)) for split, folder in split_folders(images).items()
            }
        else:
            found = split_folders(root)
            pairs = {split: (folder / self.folders[0], folder / self.folders[1]) for split, folder in found.items()}
        for folder in (folder for pair in pairs.values() for folder in pair):
            if not folder.is_dir():
                listed = some_of(sorted(path.name for path in root.iterdir()), 5) or "nothing"
                raise InputError(
                    f"there is no folder {folder}: {root} must hold {self.folders[0]} and {self.folders[1]}, each with "
                    f"or without train, val and test, or these in train, val and test; it has {listed}."
                )
        return pairs


def _by_stem(folder: Path, endings: set[str]) -> dict[str, Path]:
    """Return the files in a folder and its subfolders, by their paths in it without the ending.

    Raises:
        InputError: If two files have the same path without the ending.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in endings and not path.name.startswith("."):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise InputError(f"{found[stem]} and {path} would have the same mask: rename one, with its mask.")
            found[stem] = path
    return found
