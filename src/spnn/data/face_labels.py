"""Labels of rendered faces other than their attributes: values, points, or a map of regions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from spnn.data.faces.measures import POINTS, REGIONS, VALUES, Measure, coarse, face_points, face_regions, face_values
from spnn.readout import ClassMap, Readout, Values

__all__ = ["FACE_LABELS", "FaceLabels", "PointLabels", "RegionLabels", "ValueLabels", "mirrored_points"]

_TURNED = ("yaw", "tilt")  # values whose sign changes when a face is mirrored


class FaceLabels(ABC):
    """K labels of a face.

    Arguments:
        size: Height and width of the picture in pixels.
        grid: Cells of a map, down and across.

    Attributes:
        names: The labels' names.
        measures: Ranges and units, by name, of labels that are numbers.
        key: Everything that a row depends on, except for the seed, the index and the code.
    """

    names: tuple[str, ...]
    measures: Mapping[str, Measure] = MappingProxyType({})
    key: str

    def __init__(self, size: int, grid: int):
        self.size, self.grid = size, grid

    @property
    def readout(self) -> Readout:
        """What the labels mean."""
        ranges = {name: (measure.low, measure.high) for name, measure in self.measures.items()}
        return Values(self.names, ranges=ranges, units={name: measure.unit for name, measure in self.measures.items()})

    @abstractmethod
    def row(self, seed: int, index: int) -> np.ndarray:
        """The row to keep in the cache for face ``index`` of the series ``seed``."""

    def expand(self, rows: np.ndarray) -> np.ndarray:
        """Turn the kept rows of N faces into labels [N, K]."""
        return rows

    @abstractmethod
    def mirror(self, labels: Tensor) -> Tensor:
        """The labels of the mirrored faces, [..., K]."""


class ValueLabels(FaceLabels):
    """The numbers of :data:`~spnn.data.faces.measures.VALUES`."""

    names, measures, key = tuple(VALUES), VALUES, "values"

    def row(self, seed: int, index: int) -> np.ndarray:
        return face_values(seed, index)

    def mirror(self, labels: Tensor) -> Tensor:
        return labels * torch.tensor([-1.0 if name in _TURNED else 1.0 for name in self.names], device=labels.device)


class PointLabels(FaceLabels):
    """The coordinates of :data:`~spnn.data.faces.measures.POINTS`."""

    names, measures, key = tuple(POINTS), POINTS, "points"

    def row(self, seed: int, index: int) -> np.ndarray:
        return face_points(seed, index).reshape(-1)

    def mirror(self, labels: Tensor) -> Tensor:
        return mirrored_points(self.names, labels)


def mirrored_points(names: Sequence[str], points: Tensor) -> Tensor:
    """The points' coordinates in the mirrored picture, [..., K], such as ``left_eye_x`` in [0, 1] of the width; left
    and right change places."""
    other = {"left": "right", "right": "left"}
    partners = ["_".join(other.get(word, word) for word in name.split("_")) for name in names]
    swapped = points[..., [names.index(name) for name in partners]]
    across = torch.tensor([name.endswith("_x") for name in names], device=points.device)
    return torch.where(across, 1 - swapped, swapped)


class RegionLabels(FaceLabels):
    """A map with one of :data:`~spnn.data.faces.measures.REGIONS` in each cell, the one that it shows most of, see
    :class:`~spnn.readout.ClassMap`."""

    def __init__(self, size: int, grid: int):
        super().__init__(size, grid)
        self.map = ClassMap(REGIONS, grid, grid)
        self.names, self.key = self.map.names, f"regions size={size} grid={grid}"

    @property
    def readout(self) -> Readout:
        return self.map

    def row(self, seed: int, index: int) -> np.ndarray:
        return coarse(face_regions(seed, index, self.size), self.grid)

    def expand(self, rows: np.ndarray) -> np.ndarray:
        return self.map.labels_of(rows)

    def mirror(self, labels: Tensor) -> Tensor:
        return self.map.mirror(labels)


FACE_LABELS: dict[str, Callable[[int, int], FaceLabels]] = {
    "values": ValueLabels,
    "points": PointLabels,
    "regions": RegionLabels,
}
