"""CelebA's aligned faces and CelebAMask-HQ, as their authors or Kaggle's mirrors lay them out on disk.

::

    img_align_celeba/000001.jpg ...     178x218 pixels         CelebA-HQ-img/0.jpg ...      1024x1024 pixels
    list_attr_celeba.txt (or .csv)                             CelebAMask-HQ-attribute-anno.txt
    list_eval_partition.txt (or .csv)   train, val, test
    list_landmarks_align_celeba.txt (or .csv)   if labels are points
                                                               CelebAMask-HQ-mask-anno/0/00000_skin.png ...   if regions

References:
    Deep Learning Face Attributes in the Wild (Liu et al., 2015), https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
    MaskGAN (Lee et al., 2020), https://github.com/switchablenorms/CelebAMask-HQ
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.face_labels import mirrored_points
from spnn.data.face_parts import PARTS, read_parts
from spnn.data.faces.measures import POINTS, REGIONS
from spnn.data.listed import ListedImages, Listing, in_order
from spnn.data.masks import MaskedImages
from spnn.data.search import Search
from spnn.data.tables import Table, read_table
from spnn.errors import InputError, some_of
from spnn.readout import ClassMap, Readout, Values

__all__ = ["ALIGNED", "CelebA", "CelebAMaskHQ"]

ALIGNED = (178, 218)
"""Width and height of CelebA's aligned images, in pixels."""


class _Faces(ListedImages):
    """Faces with CelebA's attributes. A subclass names the files, and defines how they are split."""

    licence = "CelebA's: for research that isn't commercial; images, labels and parts of them may not be passed on"

    label_names = CELEBA_ATTRIBUTES
    tables: Mapping[str, str]
    """Table files without their suffix: the ``attributes``, and others."""
    first_image: ClassVar[str]
    origin: ClassVar[str]
    """Where to get the data set."""

    @abstractmethod
    def splits(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        """The split of each row of the attributes, [N]."""

    @cached_property
    def search(self) -> Search:
        return Search(self.where)

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        search = self.search
        searched = {part: search.file(f"{stem}.txt", f"{stem}.csv") for part, stem in self.tables.items()}
        places = {part: place for part, place in searched.items() if place is not None}
        table = read_table(places["attributes"]) if "attributes" in places else None
        names = table.names if table else [self.first_image]
        folder = search.folder_of(names)
        if folder is None:  # tables give .jpg even for images that were distributed as .png
            names = [str(Path(name).with_suffix(".png")) for name in names]
            folder = search.folder_of(names)
        if folder is None or table is None or len(places) < len(self.tables):
            lines = [
                f"  {part}: {places.get(part) or f'MISSING, {stem}.txt or {stem}.csv'}"
                for part, stem in self.tables.items()
            ]
            lines.append(f"  images: {folder or f'MISSING, {Path(names[0]).stem}.jpg, ...'}")
            raise InputError(
                f"{self.title} is not complete in {self.root}:\n" + "\n".join(lines) + f"\nFound there:\n"
                f"{search.describe()}\nPut what is missing anywhere below that folder; it comes from {self.origin}. "
                "Without any data set, data=synthetic_faces runs on rendered faces."
            )
        missing, unknown = set(CELEBA_ATTRIBUTES) - set(table.columns), set(table.columns) - set(CELEBA_ATTRIBUTES)
        if missing or unknown:
            found = {"missing": missing, "unknown": unknown}
            raise InputError(
                f"{table.path} has {len(table.columns)} attributes, expected CelebA's {len(CELEBA_ATTRIBUTES)}; "
                f"{'; '.join(f'{what}: {some_of(sorted(some), 5)}' for what, some in found.items() if some)}. Other "
                "attributes are read by data=image_folder."
            )
        return Listing(folder, np.array(names), self.read_labels(table, places), self.splits(table, places))

    def read_labels(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        """The labels of each row of the attributes, [N, K]."""
        return attributes.select(CELEBA_ATTRIBUTES).binary()


class CelebA(_Faces):
    """The central squares of CelebA's aligned and cropped faces, in the official partition.

    Arguments:
        labels: ``attributes``, the forty; or ``points``, the positions of eyes, nose and the mouth's corners, such as
            ``nose_x`` in [0, 1] of the square's width. A point's range covers all but one in fifty training images.
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.
    """

    title = "CelebA"
    tables: Mapping[str, str] = {"attributes": "list_attr_celeba", "partition": "list_eval_partition"}
    first_image = "000001.jpg"
    origin = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

    def __init__(
        self,
        root: str | Path | None,
        size: int,
        *,
        labels: Literal["attributes", "points"] = "attributes",
        **options: Any,
    ):
        super().__init__(root, size, **options)
        if labels not in ("attributes", "points"):
            raise InputError(f"CelebA's labels are attributes or points, not {labels!r}.")
        self.has_points = labels == "points"
        if self.has_points:
            self.label_names = tuple(POINTS)
            self.tables = {**self.tables, "points": "list_landmarks_align_celeba"}

    @cached_property
    def ranges(self) -> dict[str, list[float]]:
        """The lower and upper end of each point's coordinates."""
        training = self.listing.labels[self.listing.split == 0]
        ends = np.quantile(training, [0.01, 0.99], axis=0).T.tolist()
        return dict(zip(self.label_names, ends, strict=True))

    @cached_property
    def readout(self) -> Readout:
        if not self.has_points:
            return super().readout
        return Values(self.label_names, ranges=self.ranges, units=dict.fromkeys(self.label_names, "of the square"))

    def facts(self) -> list:
        return [*self.ranges.items()] if self.has_points else super().facts()

    def recall(self, facts: list) -> None:
        if self.has_points:
            self.ranges = dict(facts)
        else:
            super().recall(facts)

    def mirror(self, labels: Tensor) -> Tensor:
        return mirrored_points(self.label_names, labels) if self.has_points else labels

    def read_labels(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        if not self.has_points:
            return super().read_labels(attributes, places)
        table = read_table(places["points"])
        columns = [name.replace("_", "", name.count("_") - 1) for name in POINTS]  # lefteye_x
        if missing := [name for name in columns if name not in table.columns]:
            raise InputError(
                f"{table.path} must have the columns {', '.join(columns)}, but lacks {some_of(missing, 5)}."
            )
        rows = dict(zip(table.names, table.select(columns).values.tolist(), strict=True))
        if unknown := [name for name in attributes.names if name not in rows]:
            raise InputError(f"{table.path} has no points of {len(unknown)} images: {some_of(unknown)}.")
        try:
            pixels = np.array([rows[name] for name in attributes.names], dtype=np.float32)
        except ValueError as error:
            raise InputError(f"{table.path} must hold numbers of pixels: {error}.") from None
        width, height = ALIGNED
        down = np.array([(height - width) / 2 if name.endswith("_y") else 0 for name in POINTS], dtype=np.float32)
        return (pixels - down) / width

    def splits(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        partition = read_table(places["partition"], columns=("partition",))
        split = dict(zip(partition.names, partition.among("0", "1", "2")[:, 0], strict=True))
        if unknown := [name for name in attributes.names if name not in split]:
            raise InputError(
                f"{partition.path} doesn't say in which split {len(unknown)} of {len(attributes.names)} images are: "
                f"{some_of(unknown)}."
            )
        return np.array([int(split[name]) for name in attributes.names])


class CelebAMaskHQ(MaskedImages, _Faces):
    """CelebAMask-HQ's 30,000 faces of 1024x1024 pixels, split 80/10/10 in the order of their numbers, as published.

    Arguments:
        labels: ``attributes``, the forty; or ``regions``, a map of the same regions as in rendered faces, see
            :data:`~spnn.data.face_parts.PARTS`.
        grid: Cells of that map, down and across; a divisor of the size.
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.
    """

    title = "CelebAMask-HQ"
    tables: Mapping[str, str] = {"attributes": "CelebAMask-HQ-attribute-anno"}
    first_image = "0.jpg"
    origin = "https://github.com/switchablenorms/CelebAMask-HQ"
    read_mask = staticmethod(read_parts)
    numbers = range(len(REGIONS))

    def __init__(
        self,
        root: str | Path | None,
        size: int,
        *,
        labels: Literal["attributes", "regions"] = "attributes",
        grid: int = 8,
        **options: Any,
    ):
        if labels not in ("attributes", "regions"):
            raise InputError(f"CelebAMask-HQ's labels are attributes or regions, not {labels!r}.")
        super().__init__(root, size, grid=grid if labels == "regions" else None, **options)
        if self.grid is not None:
            self.label_names = self.readout.names

    @cached_property
    def readout(self) -> Readout:
        return super().readout if self.grid is None else ClassMap(REGIONS, self.grid, self.grid)

    def read_labels(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        if self.grid is None:
            return super().read_labels(attributes, places)
        stems = [f"{number // 2000}/{number:05d}" for number in self._numbers(attributes)]
        folder = self.search.folder_of([f"{stem}_skin.png" for stem in stems])
        if folder is None:
            raise InputError(
                f"{self.title}'s masks are not in {self.root}: expected CelebAMask-HQ-mask-anno/{stems[0]}_skin.png, "
                f"..., anywhere below that folder; they come from {self.origin}. Found there:\n"
                f"{self.search.describe()}"
            )
        return np.array([(folder.relative_to(self.search.root) / stem).as_posix() for stem in stems])

    def masks(self) -> list[tuple[str, ...]]:
        found = []
        for stem in self.listing.labels.tolist():
            parent, _, name = stem.rpartition("/")
            there = self.search.files.get(self.search.root / parent, ())
            found.append(tuple(f"{stem}_{part}.png" for part in PARTS if f"{name}_{part}.png" in there))
        return found

    def splits(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        order = np.argsort(self._numbers(attributes), kind="stable")
        return in_order(len(order))[np.argsort(order)]

    def _numbers(self, attributes: Table) -> list[int]:
        """The images' numbers."""
        stems = [Path(name).stem for name in attributes.names]
        if strange := [stem for stem in stems if not stem.isdecimal()]:
            raise InputError(f"{attributes.path}: images are named by number, as 0.jpg, but one is {strange[0]!r}.")
        return [int(stem) for stem in stems]
