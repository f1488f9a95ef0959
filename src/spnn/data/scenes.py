"""Rendered scenes: one to three shapes on a plain background, whose boxes the renderer knows."""

import colorsys
import hashlib
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spnn.data.arrays import ArrayDataset, LabelledImages, cached_arrays
from spnn.data.sources import SPLITS, Source, Split
from spnn.errors import InputError
from spnn.readout import Boxes

__all__ = ["SHAPES", "Scenes", "make_scene"]

SHAPES = ("ellipse", "rectangle", "triangle")

_MOST = 3  # shapes
_SIDES = (0.25, 0.45)  # least and greatest side of a box, as shares of the picture
_SAMPLES = 4  # samples per pixel, across and down


def make_scene(seed: int, index: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render scene ``index`` of the series ``seed``; no two boxes touch.

    Arguments:
        seed: Seed of the series.
        index: Place in the series.
        size: Height and width in pixels.

    Returns:
        The picture, uint8 [size, size, 3]; left, upper, right and lower edge of each box, in [0, 1], float32 [n, 4];
        and the shapes' places in :data:`SHAPES`, int8 [n]; n is 1 to 3.
    """
    random = np.random.default_rng([seed, index])
    wanted = random.integers(1, _MOST + 1)
    boxes: list[np.ndarray] = []
    for _ in range(50):  # three may not fit
        sides = random.uniform(*_SIDES, 2)
        corner = random.uniform(0, 1 - sides)
        box = np.concatenate([corner, corner + sides])
        if len(boxes) < wanted and all((box[2:] < b[:2]).any() or (b[2:] < box[:2]).any() for b in boxes):
            boxes.append(box)
    kinds = random.integers(0, len(SHAPES), len(boxes))
    hues = (random.uniform() + np.arange(len(boxes) + 1) / (len(boxes) + 1)) % 1  # evenly spaced: they differ clearly
    across = (np.arange(size * _SAMPLES) + 0.5) / (size * _SAMPLES)
    fine = np.empty((size * _SAMPLES, size * _SAMPLES, 3), np.float32)
    fine[:] = colorsys.hsv_to_rgb(hues[0], random.uniform(0.2, 0.6), random.uniform(0.2, 0.5))
    for (left, upper, right, lower), kind, hue in zip(boxes, kinds, hues[1:], strict=True):
        x = (2 * across - left - right)[None] / (right - left)  # from -1 to 1 in the box
        y = (2 * across - upper - lower)[:, None] / (lower - upper)
        inside = {
            "ellipse": x**2 + y**2 <= 1,
            "rectangle": (abs(x) <= 1) & (abs(y) <= 1),
            "triangle": (2 * abs(x) <= 1 + y) & (y <= 1),  # its tip at the top
        }[SHAPES[kind]]
        fine[inside] = colorsys.hsv_to_rgb(hue, random.uniform(0.6, 1), random.uniform(0.8, 1))
    picture = fine.reshape(size, _SAMPLES, size, _SAMPLES, 3).mean((1, 3))
    return np.rint(255 * picture).astype(np.uint8), np.array(boxes, np.float32), kinds.astype(np.int8)


class Scenes(Source):
    """Rendered scenes with the boxes of their shapes, see :class:`~spnn.readout.Boxes`.

    Arguments:
        size: Height and width in pixels.
        train, val, test: Number of scenes in each split.
        seed: Seed of the renderer; another seed gives other scenes.
        cache: Folder where the rendered scenes are kept.
        grid: Cells of the maps, down and across.

    Raises:
        InputError: If an option has an impossible value.
    """

    readout: Boxes

    def __init__(self, size: int, train: int, val: int, test: int, seed: int, cache: str | Path, grid: int = 8):
        if size < 16 or min(train, val, test) < 1 or not 0 < grid <= size:
            raise InputError(
                f"scenes need a size of at least 16, one in each split, and a grid of 1 to {size} cells, got size "
                f"{size}, {train} + {val} + {test} scenes, grid {grid}."
            )
        self.image_shape, self.size, self.seed, self.cache = (3, size, size), size, seed, cache
        self.counts, self.readout = [train, val, test], Boxes(SHAPES, grid, grid)
        self.label_names = self.readout.names

    def prepare(self) -> None:
        _ = self.arrays

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All scenes of all splits: ``images`` uint8 [N, H, W, 3], ``boxes`` float32 [N, 3, 4] and ``kinds`` int8
        [N, 3], -1 where there is no box."""
        count, renderer = sum(self.counts), hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        key = f"scenes size={self.size} seed={self.seed} count={count} renderer={renderer}"
        return cached_arrays(self.cache, key, range(count), partial(_render, self.seed, self.size))

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels of all scenes, float32 [N, K]."""
        boxes, kinds = (torch.from_numpy(np.array(self.arrays[name])) for name in ("boxes", "kinds"))
        there = (row[row >= 0].tolist() for row in kinds)
        rows = [self.readout.labels_of(row[: len(some)], some) for row, some in zip(boxes, there, strict=True)]
        return torch.stack(rows).numpy()

    def mirror(self, labels: Tensor) -> Tensor:
        return self.readout.mirrored(labels)

    def split(self, name: Split) -> LabelledImages:
        place = SPLITS.index(name)
        part = slice(sum(self.counts[:place]), sum(self.counts[: place + 1]))
        return ArrayDataset(self.arrays["images"][part], self.labels[part])


def _render(seed: int, size: int, index: int) -> dict[str, np.ndarray]:
    image, found, shapes = make_scene(seed, index, size)
    boxes, kinds = np.zeros((_MOST, 4), np.float32), np.full(_MOST, -1, np.int8)
    boxes[: len(found)], kinds[: len(found)] = found, shapes
    return {"images": image, "boxes": boxes, "kinds": kinds}
