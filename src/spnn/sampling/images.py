"""The images that targets are taken from: the run's held-out images, or the user's own."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from spnn.data import Source
from spnn.data.files import find_images, load_image, upright_size
from spnn.data.module import scale_to_unit_range
from spnn.data.sources import Split
from spnn.errors import InputError, some_of
from spnn.sampling.room import room

__all__ = ["held_out", "own_images"]

log = logging.getLogger(__name__)


def held_out(
    source: Source, first: int, count: int | None, usual: int = 16, split: Split = "test"
) -> tuple[list[str], Tensor]:
    """Return ``count`` images of a split, [N, C, H, W] in [-1, 1], and their names, which are their numbers. A count of
    None takes the ``usual`` number, or all that are left if there are fewer.

    Raises:
        InputError: If the split doesn't have that many.
    """
    dataset = source.split(split)
    if count is None:
        count = max(1, min(usual, len(dataset) - first))
        if first < len(dataset) and count < usual:
            log.info(
                "from image %d on the %s split has %d images, so these are taken, not %d", first, split, count, usual
            )
    for what, number, least in (("first", first, 0), ("count", count, 1)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise InputError(f"{what} must be a whole number of at least {least}, got {number!r}.")
    if first + count > len(dataset):
        raise InputError(
            f"the {split} split has images 0 to {len(dataset) - 1}; {first} to {first + count - 1} were requested."
        )
    images = room(count, *source.image_shape)
    for place, image in enumerate(images):
        image.copy_(scale_to_unit_range(dataset[first + place]["image"]))
    return [f"{index:05d}" for index in range(first, first + count)], images


def own_images(
    where: str | Path | Iterable[str], first: int, count: int | None, image_shape: Sequence[int]
) -> tuple[list[str], Tensor]:
    """Return the names of image files, without their suffixes, and the images [N, C, H, W] in [-1, 1].

    Arguments:
        where: A file, a folder, or a list of both.
        first, count: Which of them to take; a ``count`` of None takes all from ``first`` on.
        image_shape: The shape that they are cropped and resized to.

    Raises:
        InputError: If there are too few, or one can't be read.
    """
    found = find_images(where)
    paths = found[first:] if count is None else found[first : first + count]
    if not paths or (count is not None and len(paths) < count):
        asked = f"from {first} on" if count is None else f"{first} to {first + count - 1}"
        raise InputError(
            f"{len(found)} images were found in {where}; images {asked} were requested. Without `count`, all are taken."
        )
    same = Counter(path.stem.casefold() for path in paths)  # from different folders or formats, or in another case
    names = [
        path.stem if same[path.stem.casefold()] == 1 else f"{path.parent.name}_{path.name.replace('.', '_')}"
        for path in paths
    ]
    if len({name.casefold() for name in names}) < len(names):  # on some systems they would be one file
        names = [f"{i:05d}_{name}" for i, name in enumerate(names)]
    if narrow := [path.name for path in paths if _shown_of(path, image_shape) < 0.5]:
        log.warning("only the middle is used of pictures that are much wider or taller: %s", some_of(narrow))
    images = room(len(paths), *image_shape)
    for image, path in zip(images, paths, strict=True):
        image.copy_(load_image(path, image_shape))
    return names, images


def _shown_of(path: Path, image_shape: Sequence[int]) -> float:
    """The share of a picture that is left when it is cropped to an image's proportions."""
    (width, height), (_, tall, wide) = upright_size(path), image_shape
    return min(width * tall, height * wide) / max(width * tall, height * wide)
