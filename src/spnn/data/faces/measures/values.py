"""Numbers that describe a face."""

import math
from colorsys import rgb_to_hls
from typing import NamedTuple

import numpy as np

from spnn.data.faces.canvas import Colour, mix
from spnn.data.faces.design import CENTRE, Face
from spnn.data.faces.measures.eyes import eye_whites
from spnn.data.faces.measures.scene import make_scene

__all__ = ["VALUES", "Measure", "face_values"]


class Measure(NamedTuple):
    """A number's least and greatest value in rendered faces, and its unit."""

    low: float
    high: float
    unit: str


VALUES: dict[str, Measure] = {
    "yaw": Measure(-3.6, 3.6, "deg"),
    "tilt": Measure(-4.1, 4.1, "deg"),
    "eye_width": Measure(12.5, 16.7, "%"),
    "eye_height": Measure(3.7, 11.0, "%"),
    "hair_lightness": Measure(8.0, 78.0, "%"),
    "background_hue": Measure(75.0, 335.0, "deg"),
    "background_lightness": Measure(40.0, 90.0, "%"),
}
"""The values that are measured, with their ranges and units; see :func:`face_values`."""


def face_values(seed: int, index: int) -> np.ndarray:
    """The numbers of :data:`VALUES`, float32 [7].

    ===================== =======================================================================================
    yaw                   turn of the head, measured by where its features are between its edges; positive to the
                          picture's right. It is small: 3.6° move the features by half a pixel of 32
    tilt                  tilt of head and shoulders, clockwise
    eye_width, eye_height size of the openings between the lids
    hair_lightness        lightness of the hair's colour: black 10, brown 30, ginger 45, blond 65, grey 75, each with
                          its shades; for a bald person it is that of the brows, 21
    background_hue        hue of the background's mean colour: green 120, blue 240, purple 300; reds and yellows, where
                          the circle of hues closes, don't occur
    background_lightness  lightness of the same colour
    ===================== =======================================================================================

    Hue and lightness are those of HSL, as colour pickers show them. In the mirrored picture yaw and tilt have the other
    sign.
    """
    face, pose = make_scene(seed, index)
    eye, _ = eye_whites(face, pose)
    hue, lightness = _hue_and_lightness(mix(*face.background, 0.5))
    return np.array(
        [
            math.degrees(math.asin((face.axis - CENTRE) / face.half_width)),
            math.degrees(pose.angle),
            100 * eye.width,
            100 * eye.height,
            _hue_and_lightness(_hair(face))[1],
            hue,
            lightness,
        ],
        dtype=np.float32,
    )


def _hair(face: Face) -> Colour:
    if "Bald" not in face.has:
        return face.hair
    red, green, blue = (round(part / 0.55) for part in face.brow)  # brows are hair with 45 % black
    return red, green, blue


def _hue_and_lightness(colour: Colour) -> tuple[float, float]:
    """Hue in degrees and lightness in per cent."""
    red, green, blue = colour
    hue, lightness, _ = rgb_to_hls(red / 255, green / 255, blue / 255)
    return 360 * hue, 100 * lightness
