"""The design of a face, and its pose in the picture."""

from typing import NamedTuple

import numpy as np

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.faces.canvas import Point
from spnn.data.faces.design import Face, design
from spnn.data.faces.rendering import NUISANCES
from spnn.data.faces.sampling import sample_attributes

__all__ = ["Pose", "make_scene"]


class Pose(NamedTuple):
    """Where and how the face is placed in the picture.

    Attributes:
        shift: To the right and down, in units of the picture's side.
        scale: 1 is the size of the design.
        angle: In radians, clockwise.
    """

    shift: Point
    scale: float
    angle: float


def make_scene(seed: int, index: int) -> tuple[Face, Pose]:
    """The design and the pose of face ``index`` of the series ``seed``."""
    # The same random numbers in the same order as in `make_face` and `render_face`; a test compares the pictures.
    rng = np.random.default_rng((seed, index))
    attributes = sample_attributes(rng)
    has = {name for name, on in zip(CELEBA_ATTRIBUTES, attributes.tolist(), strict=True) if on}
    u = iter(rng.random(NUISANCES).tolist()).__next__
    face = design(has, u)
    shift = (0.05 * (u() - 0.5), 0.04 * (u() - 0.5))
    return face, Pose(shift, 0.96 + 0.08 * u(), 0.14 * (u() - 0.5))
