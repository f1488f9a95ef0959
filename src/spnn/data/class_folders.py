"""Images in a folder for each class, as torchvision's ImageFolder reads them."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spnn.data.files import suffixes
from spnn.data.listed import SPLITS, ListedImages, Listing, shuffled_splits, split_folders, subfolders
from spnn.errors import InputError, some_of
from spnn.readout import Classes, Readout

__all__ = ["ClassFolders"]


class ClassFolders(ListedImages):
    """One class of many: a folder of images for each, ``<class>/...``, or ``<split>/<class>/...`` with the splits
    ``train``, ``val`` and ``test``.

    Without splits, the images of each class are shuffled and split 80/10/10. A tenth of the training images takes the
    place of a missing split.

    Arguments:
        root: The folder with the classes, or with the splits.
        group: The name that a class is set by, as in ``edit.set={class: cat}``.
        seed: Seed of the shuffle.
        **options: ``size``, ``cache``, ``cache_folder``, ``on_bad_image``, see
            :class:`~spnn.data.listed.ListedImages`.
    """

    title = "the class folders"

    def __init__(self, root: str | Path | None, *, group: str = "class", seed: int = 0, **options: Any):
        super().__init__(root, **options)
        self.group, self.seed = group, seed

    @cached_property
    def parts(self) -> dict[int | None, dict[str, list[str]]]:
        """The images' paths below the root, by class, for each split; the key is None if there are no splits."""
        root = Path(self.where).expanduser()
        if not root.is_dir():
            raise InputError(f"data.root={self.root} is not a folder (looked from {Path.cwd()}).")
        return {split: self._classes(root, folder) for split, folder in split_folders(root).items()}

    @cached_property
    def label_names(self) -> tuple[str, ...]:  # type: ignore[override]  # computed: folders are listed first
        """The classes: the names of the training images' folders, sorted."""
        return tuple(next(iter(self.parts.values())))

    @cached_property
    def readout(self) -> Readout:
        return Classes(self.label_names, self.group)

    def read(self) -> Listing:
        """List the images.

        Raises:
            InputError: If there are fewer than two classes, or a split has other classes than the training images.
        """
        names, classes, splits, random = [], [], [], np.random.default_rng(self.seed)
        for split, by_class in self.parts.items():
            if split is not None and by_class.keys() != set(self.label_names):
                unlike = sorted(by_class.keys() ^ set(self.label_names))
                raise InputError(
                    f"{self.root}: {SPLITS[split]} and train must have the same classes, but only one of the two has "
                    f"{some_of(unlike, 5)}."
                )
            for place, found in enumerate(by_class.values()):
                names += found
                classes += [place] * len(found)
                splits += shuffled_splits(split, len(found), self.parts, random)
        labels, parts = np.eye(len(self.label_names), dtype=bool)[classes], np.array(splits)
        if len(untrained := np.flatnonzero(~labels[parts == 0].any(0))):
            raise InputError(
                f"{self.root}: {some_of([self.label_names[k] for k in untrained], 5)} has too few images for one to be "
                "trained on: add some, or take the folder out."
            )
        order = random.permutation(len(names))  # so that the first images of a split have mixed classes
        return Listing(Path(self.where).expanduser(), np.array(names)[order], labels[order], parts[order])

    def _classes(self, root: Path, place: Path) -> dict[str, list[str]]:
        """The images in each folder and its subfolders, as paths from the root."""
        readable = suffixes()
        found = {
            folder.name: sorted(
                path.relative_to(root).as_posix()
                for path in folder.rglob("*")
                if path.suffix.lower() in readable and not path.name.startswith(".")
            )
            for folder in subfolders(place)
        }
        found = {name: images for name, images in found.items() if images}
        if len(found) < 2:
            listed = some_of(sorted(path.name for path in place.iterdir()), 5) or "nothing"
            deeper = "" if len(found) != 1 else f" Is it meant to be data.root={place / next(iter(found))}?"
            raise InputError(
                f"{place} must hold a folder of images for each of at least two classes, as in {place.name}/cat/1.png; "
                f"it has {listed}.{deeper}"
            )
        return found
