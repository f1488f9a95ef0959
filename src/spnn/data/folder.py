"""Your own images, with any yes-or-no labels."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spnn.data.listed import SPLITS, ListedImages, Listing, in_order
from spnn.data.search import Search
from spnn.data.tables import Table, read_table
from spnn.errors import InputError

__all__ = ["ImageFolder"]


class ImageFolder(ListedImages):
    """A folder of images and a table of their labels.

    The table is a CSV file: a header, then a row per image, its file's name first, then 0 or 1 (or −1 or 1) for each
    label. A column ``split`` may hold train, val or test; without it, images are shuffled and split 80/10/10.

    Arguments:
        root: The folder with the table; images lie in there, or deeper.
        table: The table's name.
        seed: Of the shuffle.
        **options: ``size``, ``cache``, ``cache_folder``, ``on_bad_image``, see
            :class:`~spnn.data.listed.ListedImages`.
    """

    title = "the image folder"

    def __init__(self, root: str | Path | None, *, table: str = "attributes.csv", seed: int = 0, **options: Any):
        super().__init__(root, **options)
        self.table_name, self.seed = table, seed

    @cached_property
    def search(self) -> Search:
        return Search(self.where)

    @cached_property
    def table(self) -> Table:
        """The table, its column ``split`` included."""
        path = self.search.file(self.table_name)
        if path is None:
            raise InputError(
                f"there is no {self.table_name} in {self.root}: make one with a header and a row per image, "
                f"`image,smiling,glasses` and `portrait.jpg,1,0`. Found there:\n{self.search.describe()}"
            )
        return read_table(path)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The table's other columns."""
        names = tuple(name for name in self.table.columns if name != "split")
        if not names:
            raise InputError(f"{self.table.path} has no labels: its header must name at least one.")
        return names

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        table, labels = self.table, self.table.select(self.label_names).binary()
        folder = self.search.folder_of(table.names)
        if folder is None:
            raise InputError(
                f"no folder below {self.root} holds the images that {table.path} names ({table.names[0]}, ...). Found "
                f"there:\n{self.search.describe()}"
            )
        if "split" in table.columns:
            split = np.array([SPLITS.index(name) for name in table.select(["split"]).among(*SPLITS)[:, 0]])
        else:
            split = np.random.default_rng(self.seed).permutation(in_order(len(table.names)))
        return Listing(folder, np.array(self.search.resolve(folder, table.names)), labels, split)
