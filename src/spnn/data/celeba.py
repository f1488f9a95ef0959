"""CelebA's aligned faces and CelebAMask-HQ, as their authors or Kaggle's mirrors lay them out on disk.

::

    img_align_celeba/000001.jpg ...     178x218 pixels         CelebA-HQ-img/0.jpg ...      1024x1024 pixels
    list_attr_celeba.txt (or .csv)                             CelebAMask-HQ-attribute-anno.txt
    list_eval_partition.txt (or .csv)   train, val, test

References:
    Deep Learning Face Attributes in the Wild (Liu et al., 2015), https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
    MaskGAN (Lee et al., 2020), https://github.com/switchablenorms/CelebAMask-HQ
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.listed import ListedImages, Listing, in_order
from spnn.data.search import Search
from spnn.data.tables import Table, read_table
from spnn.errors import InputError, some_of

__all__ = ["CelebA", "CelebAMaskHQ"]


class _Faces(ListedImages):
    """Faces with CelebA's attributes. A subclass says what its parts are called, and how it is split."""

    label_names = CELEBA_ATTRIBUTES
    tables: ClassVar[dict[str, str]]
    """Files without their suffix: of the ``attributes``, and of others."""
    first_image: ClassVar[str]
    origin: ClassVar[str]
    """Where to get them."""

    @abstractmethod
    def splits(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        """The split of each row of the attributes, [N]."""

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        search = Search(self.where)
        places = {part: search.file(f"{stem}.txt", f"{stem}.csv") for part, stem in self.tables.items()}
        table = read_table(places["attributes"]) if places["attributes"] else None
        names = table.names if table else [self.first_image]
        folder = search.folder_of(names)
        if folder is None:  # tables say .jpg also of images that were distributed as .png
            names = [str(Path(name).with_suffix(".png")) for name in names]
            folder = search.folder_of(names)
        if folder is None or None in places.values():
            lines = [
                f"  {part}: {places[part] or f'MISSING, {stem}.txt or {stem}.csv'}"
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
        attributes = table.select(CELEBA_ATTRIBUTES).binary()
        return Listing(folder, np.array(names), attributes, self.splits(table, places))


class CelebA(_Faces):
    """CelebA's aligned and cropped faces, of which the central square is taken; the official partition.

    Arguments:
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.
    """

    title = "CelebA"
    tables: ClassVar = {"attributes": "list_attr_celeba", "partition": "list_eval_partition"}
    first_image = "000001.jpg"
    origin = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

    def splits(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        partition = read_table(places["partition"], columns=("partition",))
        split = dict(zip(partition.names, partition.among("0", "1", "2")[:, 0], strict=True))
        if unknown := [name for name in attributes.names if name not in split]:
            raise InputError(
                f"{partition.path} doesn't say in which split {len(unknown)} of {len(attributes.names)} images are: "
                f"{some_of(unknown)}."
            )
        return np.array([int(split[name]) for name in attributes.names])


class CelebAMaskHQ(_Faces):
    """CelebAMask-HQ's 30,000 faces of 1024x1024 pixels, split 80/10/10 in the order of their numbers, as published.

    Arguments:
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.
    """

    title = "CelebAMask-HQ"
    tables: ClassVar = {"attributes": "CelebAMask-HQ-attribute-anno"}
    first_image = "0.jpg"
    origin = "https://github.com/switchablenorms/CelebAMask-HQ"

    def splits(self, attributes: Table, places: dict[str, Path]) -> np.ndarray:
        numbers = [Path(name).stem for name in attributes.names]
        if strange := [number for number in numbers if not number.isdecimal()]:
            raise InputError(f"{attributes.path}: images are named by number, as 0.jpg, but one is {strange[0]!r}.")
        order = np.argsort(np.array(numbers, dtype=int), kind="stable")
        return in_order(len(numbers))[np.argsort(order)]
