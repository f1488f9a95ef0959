"""Measures of a rendered face: numbers, points, and what each pixel shows.

They follow from the same ``(seed, index)`` as the picture of :func:`spnn.data.faces.make_face`, and are read off the
shapes that the renderer draws, so they can't differ from the picture. The measures are not part of the renderer, so
changing these files leaves the pictures in the cache valid.

In a mirrored picture, some measures change: ``yaw`` and ``tilt`` change their sign; a point's x becomes 1 − x, and left
and right change places; a map's columns are reversed. The others stay the same.
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
    """All measures of a face.

    Attributes:
        values: float32 [7], in the order and the units of :data:`VALUES`.
        points: float32 [5, 2], in the order of :data:`POINT_NAMES`: x and y in [0, 1] of the picture's width and
            height, from its upper left corner.
        regions: uint8 [size, size]: the region that each pixel shows, as its place in :data:`REGIONS`.
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
