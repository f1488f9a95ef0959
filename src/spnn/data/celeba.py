"""CelebA's aligned faces and CelebAMask-HQ, as their authors or Kaggle's mirrors lay them out on disk.

::

    img_align_celeba/000001.jpg ...     178x218 pixels         CelebA-HQ-img/0.jpg ...      1024x1024 pixels
    list_attr_celeba.txt (or .csv)                             CelebAMask-HQ-attribute-anno.txt
    list_eval_partition.txt (or .csv)   train, val, test

References:
    Deep Learning Face Attributes in the Wild (Liu et al., 2015), https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
    MaskGAN (Lee et al., 2020), https://github.com/switchablenorms/CelebAMask-HQ
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.listed import ListedImages, Listing, in_order
from spnn.data.search import Search
from spnn.data.tables import Table, read_table
from spnn.errors import InputError, some_of

__all__ = ["CelebA", "CelebAMaskHQ"]


class CelebA(ListedImages):
    """CelebA's aligned and cropped faces, of which the central square is taken; the official partition.

    Arguments:
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.
    """

    title = "CelebA"
    attributes = CELEBA_ATTRIBUTES

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        found = _find(
            self.title,
            self.where,
            {
                "attributes": ("list_attr_celeba.txt", "list_attr_celeba.csv"),
                "partition": ("list_eval_partition.txt", "list_eval_partition.csv"),
            },
            first_image="000001.jpg",
            source="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        )
        table = _celeba_columns(found.tables["attributes"])
        partition = found.tables["partition"]
        splits = dict(zip(partition.names, partition.whole_numbers((0, 1, 2))[:, 0].tolist(), strict=True))
        if unknown := [name for name in table.names if name not in splits]:
            raise InputError(
                f"{partition.path} doesn't say in which split {len(unknown)} of {len(table.names)} images are: "
                f"{some_of(unknown)}."
            )
        split = np.array([splits[name] for name in table.names])
        return Listing(found.folder, found.names(table), table.binary(), split)


class CelebAMaskHQ(ListedImages):
    """CelebAMask-HQ's 30,000 faces of 1024x1024 pixels, split 80/10/10 in the order of their numbers, as published.

    Arguments:
        root, size, cache, cache_folder, on_bad_image: See :class:`~spnn.data.listed.ListedImages`.
    """

    title = "CelebAMask-HQ"
    attributes = CELEBA_ATTRIBUTES

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        found = _find(
            self.title,
            self.where,
            {"attributes": ("CelebAMask-HQ-attribute-anno.txt", "CelebAMask-HQ-attribute-anno.csv")},
            first_image="0.jpg",
            source="https://github.com/switchablenorms/CelebAMask-HQ",
        )
        table = _celeba_columns(found.tables["attributes"])
        if strange := [name for name in table.names if not Path(name).stem.isdecimal()]:
            raise InputError(f"{table.path}: images are named by number, as 0.jpg, but one is {strange[0]!r}.")
        order = np.argsort([int(Path(name).stem) for name in table.names], kind="stable")
        split = in_order(len(order))
        return Listing(found.folder, found.names(table)[order], table.binary()[order], split)


class _Found(NamedTuple):
    """The parts of a data set; ``suffix`` is that of the files, where the tables have another."""

    tables: dict[str, Table]
    folder: Path
    suffix: str | None

    def names(self, table: Table) -> np.ndarray:
        """The files' names; tables say .jpg also of images that were distributed as .png."""
        if self.suffix is None:
            return np.array(table.names)
        return np.array([str(Path(name).with_suffix(self.suffix)) for name in table.names])


def _find(title: str, root: str | Path, tables: dict[str, tuple[str, ...]], first_image: str, source: str) -> _Found:
    """Find and read a data set's tables, then the folder with the images that the first of them names.

    Raises:
        InputError: If a part is missing; the message says which ones are there and where to get the others.
    """
    search = Search(root)
    places = {part: search.file(names) for part, names in tables.items()}
    read, probes, suffix = {}, [first_image], None
    if places["attributes"] is not None:
        read["attributes"] = read_table(places["attributes"])
        names = read["attributes"].names
        probes = [names[0], names[len(names) // 2], names[-1]]  # one may be missing
    folder = search.folder_of(probes)
    if folder is None:
        folder = search.folder_of([str(Path(probe).with_suffix(".png")) for probe in probes])
        suffix = ".png"
    if folder is None or None in places.values():
        wanted = {part: " or ".join(names) for part, names in tables.items()}
        lines = [f"  {part}: {places[part] or f'MISSING, {wanted[part]}'}" for part in tables]
        lines.append(f"  images: {folder or f'MISSING, {probes[0]}, ...'}")
        raise InputError(
            f"{title} is not complete in {root}:\n" + "\n".join(lines) + f"\nFound there:\n{search.describe()}\n"
            f"Put what is missing anywhere below that folder; it comes from {source}. Without any data set, "
            "data=synthetic_faces runs on rendered faces."
        )
    for part, place in places.items():
        if part != "attributes":
            read[part] = read_table(place, columns=(part,))
    return _Found(read, folder, suffix)


def _celeba_columns(table: Table) -> Table:
    """The table with the forty attributes in their usual order."""
    missing = [name for name in CELEBA_ATTRIBUTES if name not in table.columns]
    strange = [name for name in table.columns if name not in CELEBA_ATTRIBUTES]
    if missing or strange:
        named = {"missing": missing, "unknown": strange}
        found = [f"{what}: {', '.join(names[:5])}" for what, names in named.items() if names]
        raise InputError(
            f"{table.path} has {len(table.columns)} attributes, expected CelebA's {len(CELEBA_ATTRIBUTES)}; "
            f"{'; '.join(found)}. Other attributes are read by data=image_folder."
        )
    order = [table.columns.index(name) for name in CELEBA_ATTRIBUTES]
    return table._replace(columns=CELEBA_ATTRIBUTES, values=table.values[:, order])
