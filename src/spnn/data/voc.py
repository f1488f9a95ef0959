"""Objects and their boxes in the layout of Pascal VOC."""

import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spnn.data.files import suffixes
from spnn.data.listed import SPLITS, ListedImages, Listing, in_order
from spnn.data.search import Search
from spnn.errors import InputError, some_of
from spnn.readout import Boxes

log = logging.getLogger(__name__)

__all__ = ["VOC"]

_FOLDERS = "JPEGImages", "Annotations"


class _Annotation(NamedTuple):
    """The contents of an annotation: the picture's path below the root, the objects' classes, their edges in [0, 1] of
    the central square, [n, 4], and the split, None if no list has the picture."""

    image: str
    classes: list[str]
    boxes: np.ndarray
    split: int | None


class VOC(ListedImages):
    """Pascal VOC, or one's own pictures in its layout: ``JPEGImages/<name>.jpg``, ``Annotations/<name>.xml``, and, if
    there are any, the lists ``ImageSets/Main/{train,val,test}.txt`` (``trainval`` where there is no ``train``). The
    folders of several years below one root are read together.

    As in all readers, pictures are cropped to their central square, and boxes with them. Boxes whose centre lies
    outside are left out, and so are objects that are marked as difficult. Without lists, pictures are shuffled and
    split 80/10/10; a tenth of the training pictures takes the place of a split that has none.

    Arguments:
        root: The folder.
        grid: Cells of the maps, down and across.
        classes: Names of the classes, in the order of the maps; None for all that the annotations name, sorted.
        seed: Seed of the shuffle.
        **options: ``size``, ``cache``, ``cache_folder``, ``on_bad_image``, see
            :class:`~spnn.data.listed.ListedImages`.

    References:
        The PASCAL Visual Object Classes Challenge (Everingham et al., 2010), https://doi.org/10.1007/s11263-009-0275-4
    """

    title = "the pictures with boxes"

    def __init__(
        self,
        root: str | Path | None,
        *,
        grid: int,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(root, **options)
        self.grid, self.seed = grid, seed
        if classes is not None:
            self.classes = tuple(classes)

    @cached_property
    def annotations(self) -> list[_Annotation]:
        """The annotations of all pictures.

        Raises:
            InputError: If there are none, or one is damaged.
        """
        root, search = Path(self.where).expanduser(), Search(self.where)
        images, annotated = ({path.parent: path for path in search.files if path.name == name} for name in _FOLDERS)
        if not images.keys() & annotated.keys():
            raise InputError(
                f"{root} must have a folder JPEGImages and, beside it, Annotations, an XML file for each picture. "
                f"Found there:\n{search.describe()}"
            )
        found, beyond = [], []
        for folder in sorted(images.keys() & annotated.keys()):
            splits = _lists(folder / "ImageSets/Main")
            files, named = search.files[annotated[folder]], _by_stem(search.files[images[folder]])
            if missing := sorted(name for name in splits if f"{name}.xml" not in files):
                raise InputError(
                    f"{folder / 'ImageSets/Main'} lists {len(missing)} pictures without a file in Annotations: "
                    f"{some_of(missing)}. Unpack the annotations, or take the list away."
                )
            for name in sorted(file.removesuffix(".xml") for file in files if file.endswith(".xml")):
                if splits and name not in splits:
                    continue
                image = images[folder] / named.get(name, f"{name}.jpg")
                file = annotated[folder] / f"{name}.xml"
                classes, boxes, inside = _read(file, image)
                beyond += [] if inside else [str(file)]
                found.append(_Annotation(image.relative_to(root).as_posix(), classes, boxes, splits.get(name)))
        if beyond:
            log.warning("boxes of %d annotations reach beyond their pictures: %s", len(beyond), some_of(beyond, 3))
        if not any(one.classes for one in found):
            raise InputError(f"the {len(found)} annotations of {root} have no box that can be trained on.")
        return found

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The objects' classes."""
        return tuple(sorted({name for one in self.annotations for name in one.classes}))

    @cached_property
    def readout(self) -> Boxes:
        return Boxes(self.classes, self.grid, self.grid)

    @property
    def label_names(self) -> tuple[str, ...]:  # type: ignore[override]  # computed: annotations are read first
        return self.readout.names

    def facts(self) -> list[str]:
        return list(self.classes)

    def recall(self, facts: list[str]) -> None:
        self.classes = tuple(facts)

    def mirror(self, labels: Tensor) -> Tensor:
        return self.readout.mirrored(labels)

    def read(self) -> Listing:
        """List the pictures.

        Raises:
            InputError: If an annotation is damaged, or names a class that is not one of ``classes``.
        """
        labels = np.zeros((len(self.annotations), len(self.label_names)), np.float32)
        numbers = {name: number for number, name in enumerate(self.classes)}
        for row, one in zip(labels, self.annotations, strict=True):
            if unknown := [name for name in one.classes if name not in numbers]:
                raise InputError(
                    f"the annotation of {one.image} has the class {unknown[0]!r}; the classes are "
                    f"{', '.join(self.classes)}. Add it to data.source.classes, or take it out."
                )
            row[:] = self.readout.labels_of(torch.from_numpy(one.boxes), [numbers[name] for name in one.classes])
        names = np.array([one.image for one in self.annotations])
        return Listing(Path(self.where).expanduser(), names, labels, self._splits())

    def _splits(self) -> np.ndarray:
        """The split of each picture, [N]."""
        said, random = [one.split for one in self.annotations], np.random.default_rng(self.seed)
        if None in said:
            return random.permutation(in_order(len(said)))
        splits = np.array(said)
        trained = random.permutation(np.flatnonzero(splits == 0))
        tenth = max(1, len(trained) // 10)
        for place, split in enumerate(other for other in (1, 2) if not (splits == other).any()):
            splits[trained[place * tenth : (place + 1) * tenth]] = split
        return splits


def _lists(folder: Path) -> dict[str, int]:
    """The split of each name in a folder's lists; empty if it has no lists."""
    found = {name: folder / f"{name}.txt" for name in ("trainval", *SPLITS) if (folder / f"{name}.txt").is_file()}
    if "train" in found:
        found.pop("trainval", None)
    splits: dict[str, int] = {}
    for name, file in found.items():
        listed = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if (twice := [picture for picture in listed if picture in splits]) and "trainval" not in found:
            raise InputError(f"{file} lists {some_of(twice)}, which another list of that folder has, too: keep one.")
        splits |= dict.fromkeys(listed, SPLITS.index(name) if name in SPLITS else 0)
    return splits


def _by_stem(files: set[str]) -> dict[str, str]:
    """The image files, by their names without the ending."""
    readable = suffixes()
    return {Path(file).stem: file for file in sorted(files) if Path(file).suffix.lower() in readable}


def _read(file: Path, image: Path) -> tuple[list[str], np.ndarray, bool]:
    """Return the classes of an annotation's objects, their edges in the central square, float32 [n, 4], and whether all
    boxes lie in the picture, give or take a pixel.

    Raises:
        InputError: If the file isn't such XML.
    """
    try:
        tree = ElementTree.parse(file).getroot()
        size = [int(tree.findtext(f"size/{name}") or 0) for name in ("width", "height")]
        objects = list(_objects(tree))
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is no annotation of Pascal VOC: {error}. Each `object` needs a `name` and a `bndbox` with xmin, "
            "ymin, xmax and ymax."
        ) from None
    if objects and not min(size):
        try:
            with Image.open(image) as opened:
                size = list(opened.size)
        except OSError:  # reported later, where pictures are read
            return [], np.zeros((0, 4), np.float32), True
    side = min(size, default=0)
    edges = np.array([edges for _, edges in objects], np.float64).reshape(-1, 2, 2)
    inside = bool(((edges >= 0) & (edges <= np.array(size) + 1)).all())
    edges = (edges - [1, 1] + [[0, 0], [1, 1]] - (np.array(size) - side) / 2) / max(side, 1)  # pixels count from 1
    middles = edges.mean(1)
    kept = ((middles >= 0) & (middles < 1)).all(1)
    names = [name for (name, _), keep in zip(objects, kept, strict=True) if keep]
    return names, edges.clip(0, 1)[kept].reshape(-1, 4).astype(np.float32), inside


def _objects(tree: ElementTree.Element) -> Iterator[tuple[str, list[float]]]:
    """Name and edges, in pixels, of the objects that aren't marked as difficult."""
    for one in tree.iter("object"):
        if int(one.findtext("difficult") or 0):
            continue
        name, box = (one.findtext("name") or "").strip(), one.find("bndbox")
        if not name or box is None:
            raise ValueError("an object lacks its name or its box")
        texts = {key: box.findtext(key) or "" for key in ("xmin", "ymin", "xmax", "ymax")}
        if missing := [key for key, text in texts.items() if not text]:
            raise ValueError(f"the box of {name} lacks {missing[0]}")
        edges = [float(text) for text in texts.values()]
        if not (edges[0] < edges[2] and edges[1] < edges[3]):
            raise ValueError(f"the box of {name} has the edges {edges}")
        yield name, edges
