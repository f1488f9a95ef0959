"""What can be measured in a rendered face: numbers, points, and which pixel shows what.

All of it follows from the same ``(seed, index)`` as the picture of :func:`spnn.data.faces.make_face`, and is read off
what the renderer draws, so it can't differ from it. These files only look on: they are no part of the renderer, and a
change of them leaves the pictures in the cache valid.

A mirrored picture has other measures: ``yaw`` and ``tilt`` change their sign; a point's x becomes 1 − x, and left and
right change places; a map's columns are reversed. All else stays.
"""

from typing import NamedTuple

import numpy as np

from spnn.data.faces.measures.points import POINT_NAMES, POINTS, face_points
from spnn.data.faces.measures.regions import REGIONS, coarse, face_regions
from spnn.data.faces.measures.values import VALUES, Measure, face_values

__all__ = [
    "POINTS",
    "POINT_NAMES",
    "REGIONS",
    "VALUES",
    "FaceMeasures",
    "Measure",
    "coarse",
    "face_points",
    "face_regions",
    "face_values",
    "measure_face",
]


class FaceMeasures(NamedTuple):
    """All that is measured in a face.

    Attributes:
        values: float32 [7], in the order and the units of :data:`VALUES`.
        points: float32 [5, 2], in the order of :data:`POINT_NAMES`: x and y in [0, 1] of the picture's width and
            height, from its upper left corner.
        regions: uint8 [size, size]: the place in :data:`REGIONS` of what each pixel shows.
    """

    values: np.ndarray
    points: np.ndarray
    regions: np.ndarray


def measure_face(seed: int, index: int, size: int = 32) -> FaceMeasures:
    """Measure the face that ``make_face(seed, index, size)`` draws. Values and points are the same at every size.

    Raises:
        ValueError: If the size is less than 16.
    """
    return FaceMeasures(face_values(seed, index), face_points(seed, index), face_regions(seed, index, size))
