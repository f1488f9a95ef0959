"""Your own images, with a table of labels of any kind."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spnn.data.columns import Column, columns_of, labels_of, readout_of
from spnn.data.listed import SPLITS, ListedImages, Listing, in_order
from spnn.data.search import Search
from spnn.data.tables import Table, read_table
from spnn.errors import InputError
from spnn.readout import Readout

__all__ = ["ImageFolder"]


class ImageFolder(ListedImages):
    """A folder of images and a table of their labels.

    The table is a CSV file: a header, then a row per image with its file's name followed by its labels: 0 or 1 (or −1
    or 1, yes or no), numbers, or words for classes. A column ``split`` may hold train, val or test; without it, images
    are shuffled and split 80/10/10.

    Arguments:
        root: The folder with the table; the images are in this folder or below it.
        table: The table's name.
        seed: Seed of the shuffle.
        readout: What columns hold, by name, where their contents don't show it: ``yes_no``, ``number`` or ``class``; or
            ``{kind: number, range: [0, 100], unit: years}``.
        **options: ``size``, ``cache``, ``cache_folder``, ``on_bad_image``, see
            :class:`~spnn.data.listed.ListedImages`.
    """

    title = "the image folder"

    def __init__(
        self,
        root: str | Path | None,
        *,
        table: str = "attributes.csv",
        seed: int = 0,
        readout: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(root, **options)
        self.table_name, self.seed, self.said = table, seed, readout or {}

    @cached_property
    def search(self) -> Search:
        return Search(self.where)

    @cached_property
    def table(self) -> Table:
        """The table, including its column ``split``."""
        path = self.search.file(self.table_name)
        if path is None:
            raise InputError(
                f"there is no {self.table_name} in {self.root}: make one with a header and a row per image, "
                f"`image,smiling,glasses` and `portrait.jpg,1,0`. Found there:\n{self.search.describe()}"
            )
        return read_table(path)

    @cached_property
    def splits(self) -> np.ndarray:
        """The split of each row of the table, [N]."""
        table = self.table
        if "split" in table.columns:
            return np.array([SPLITS.index(name) for name in table.select(["split"]).among(*SPLITS)[:, 0]])
        return np.random.default_rng(self.seed).permutation(in_order(len(table.names)))

    @cached_property
    def columns(self) -> list[Column]:
        """What the table's other columns hold."""
        names = [name for name in self.table.columns if name != "split"]
        if not names:
            raise InputError(f"{self.table.path} has no labels: its header must name at least one.")
        return columns_of(self.table.select(names), self.splits == 0, self.said)

    @property
    def label_names(self) -> tuple[str, ...]:  # type: ignore[override]  # computed: the table is read first
        return tuple(name for column in self.columns for name in column.names)

    @cached_property
    def readout(self) -> Readout:
        return readout_of(self.columns)

    def facts(self) -> list[str] | list[dict]:
        if all(column.kind == "yes_no" for column in self.columns):
            return list(self.label_names)
        return [column.as_json() for column in self.columns]

    def recall(self, facts: list[str] | list[dict]) -> None:
        self.columns = [Column(one, "yes_no") if isinstance(one, str) else Column.of_json(one) for one in facts]

    def read(self) -> Listing:
        """List the images; errors as :meth:`~spnn.data.listed.ListedImages.read`."""
        table, labels = self.table, labels_of(self.table, self.columns)
        folder = self.search.folder_of(table.names)
        if folder is None:
            raise InputError(
                f"no folder below {self.root} holds the images that {table.path} names ({table.names[0]}, ...). Found "
                f"there:\n{self.search.describe()}"
            )
        return Listing(folder, np.array(self.search.resolve(folder, table.names)), labels, self.splits)
