"""Where the features of a face are."""

import numpy as np

from spnn.data.faces.canvas import BOW
from spnn.data.faces.features import draw_mouth, draw_nose
from spnn.data.faces.measures.eyes import eye_whites
from spnn.data.faces.measures.scene import make_scene
from spnn.data.faces.measures.shapes import Shapes
from spnn.data.faces.measures.values import Measure

__all__ = ["POINTS", "POINT_NAMES", "face_points"]

POINT_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Left and right are the picture's, not the person's."""

_WIDTH, _HEIGHT = "of the width", "of the height"

POINTS: dict[str, Measure] = {
    "left_eye_x": Measure(0.32, 0.44, _WIDTH),
    "left_eye_y": Measure(0.40, 0.47, _HEIGHT),
    "right_eye_x": Measure(0.56, 0.68, _WIDTH),
    "right_eye_y": Measure(0.40, 0.47, _HEIGHT),
    "nose_x": Measure(0.45, 0.55, _WIDTH),
    "nose_y": Measure(0.52, 0.63, _HEIGHT),
    "left_mouth_x": Measure(0.29, 0.46, _WIDTH),
    "left_mouth_y": Measure(0.57, 0.70, _HEIGHT),
    "right_mouth_x": Measure(0.54, 0.71, _WIDTH),
    "right_mouth_y": Measure(0.57, 0.70, _HEIGHT),
}
"""The coordinates of the points, and their ranges in rendered faces."""


def face_points(seed: int, index: int) -> np.ndarray:
    """The points of :data:`POINT_NAMES`, float32 [5, 2]: x and y in [0, 1] of the picture's width and height.

    They are the centres of the eyes, the tip of the nose (for a round one, the middle of the ball) and the corners of
    the mouth, even where a moustache hides them. In the mirrored picture x becomes 1 − x, and left and right change
    places.
    """
    face, pose = make_scene(seed, index)
    left, right = (white.centre for white in eye_whites(face, pose))
    nose = Shapes(draw_nose, face, pose)
    tip = nose.polygons[0][2] if "Pointy_Nose" in face.has else nose.ellipses[1].centre
    lips = Shapes(draw_mouth, face, pose).polygons[0]  # begins with the upper edge, from the left
    return np.array([left, right, tip, lips[0], lips[len(BOW) - 1]], dtype=np.float32)
