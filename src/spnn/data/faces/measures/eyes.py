"""The two eyes, which both the values and the points need."""

from dataclasses import replace

from spnn.data.faces.design import Face
from spnn.data.faces.features import draw_eyes
from spnn.data.faces.measures.scene import Pose
from spnn.data.faces.measures.shapes import Ellipse, Shapes

__all__ = ["AROUND_EYES", "eye_whites"]

AROUND_EYES = frozenset({"Heavy_Makeup", "Bags_Under_Eyes"})
"""Attributes that are drawn with the eyes, but on the skin."""


def eye_whites(face: Face, pose: Pose) -> list[Ellipse]:
    """The openings between the lids: the eye on the picture's left, then the one on its right."""
    shapes = Shapes(draw_eyes, replace(face, has=face.has - AROUND_EYES), pose)
    return shapes.ellipses[1::5]  # an eye has five ellipses: rim, white, iris, pupil and glint
