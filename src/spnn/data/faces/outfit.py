"""Neck and shoulders, and all that is worn: clothes, tie, glasses, hat and jewellery."""

import math

from spnn.data.faces.canvas import ARC, BLACK, BOW, INK, WHITE, Canvas, beside, from_hsv, mix
from spnn.data.faces.design import CENTRE, EYE_X, EYE_Y, Face

__all__ = ["draw_body", "draw_glasses", "draw_hat", "draw_jewellery"]

BRIM_Y = 0.245


def draw_body(canvas: Canvas, face: Face) -> None:
    neck, shoulder = face.neck, face.shoulder
    slope = [(neck + (shoulder - neck) * y, 0.87 + 0.12 * (1.0 - x)) for x, y in ARC[:17:2]]
    canvas.symmetric(CENTRE, [*slope, (shoulder + 0.02, 1.2)], face.clothes)
    canvas.symmetric(CENTRE, [(neck, 0.7), (neck, 0.87), (neck + 0.025, 0.885)], face.shade)
    canvas.ellipse(CENTRE, 0.88, neck + 0.02, 0.05 + 0.03 * face.variant[1], face.shade)
    canvas.ellipse(CENTRE, face.chin_y - 0.035, neck, 0.06, mix(face.skin, (110, 40, 30), 0.32))
    if "Wearing_Necktie" in face.has:
        _draw_tie(canvas, face)


def _draw_tie(canvas: Canvas, face: Face) -> None:
    tip = [(0.0, 0.925), (face.neck + 0.02, 0.855), (face.neck + 0.06, 0.895), (0.09, 1.02), (0.0, 0.95)]
    for side in (-1, 1):
        canvas.polygon(beside(CENTRE, side, tip), (250, 250, 250))
    colour = from_hsv(face.accent, 0.85, 0.55)
    canvas.symmetric(CENTRE, [(0.03, 0.95), (0.07, 1.2)], colour)
    canvas.symmetric(CENTRE, [(0.045, 0.9), (0.03, 0.95)], mix(colour, BLACK, 0.3))


def draw_glasses(canvas: Canvas, face: Face) -> None:
    if "Eyeglasses" not in face.has:
        return
    frame = from_hsv(face.accent, 0.5, 0.16)
    axis, y = face.axis, EYE_Y + 0.008
    rx, ry = 0.1, 0.085 + 0.012 * face.variant[2]
    for side in (-1, 1):
        temple = [(EYE_X + rx - 0.01, y - 0.02), (face.half_width + 0.01, y - 0.03)]
        canvas.ring(axis + side * EYE_X, y, rx, ry, 0.024, frame)
        canvas.line(beside(axis, side, temple), 0.022, frame)
    canvas.line([(axis - 0.025, y - 0.01), (axis + 0.025, y - 0.01)], 0.022, frame)


def draw_hat(canvas: Canvas, face: Face) -> None:
    if "Wearing_Hat" not in face.has:
        return
    colour = from_hsv(0.25 + 0.7 * ((face.accent + 0.37) % 1.0), 0.7, 0.5 + 0.3 * face.variant[1])
    width, height = face.half_width + 0.03, 0.2 + 0.04 * face.variant[2]
    crown = [(CENTRE + width * math.copysign(abs(x) ** 0.6, x), BRIM_Y - height * y**0.8) for x, y in ARC]
    brim = [(CENTRE + (face.half_width + 0.12) * x, BRIM_Y + 0.034 * y) for x, y in ARC]
    brim += [(CENTRE - (face.half_width + 0.12) * x, BRIM_Y - 0.03 * y) for x, y in ARC]
    canvas.polygon(crown, colour)
    canvas.symmetric(CENTRE, [(width - 0.002, BRIM_Y - 0.065), (width, BRIM_Y)], mix(colour, WHITE, 0.7))
    canvas.polygon(brim, mix(colour, BLACK, 0.25))


def draw_jewellery(canvas: Canvas, face: Face) -> None:
    if "Wearing_Earrings" in face.has:
        for side in (-1, 1):
            x = CENTRE + side * (face.half_width + 0.022)
            canvas.ellipse(x, 0.575, 0.038, 0.05, INK)
            canvas.ellipse(x, 0.575, 0.028, 0.04, (40, 226, 226))
            canvas.ellipse(x - 0.008, 0.56, 0.01, 0.012, WHITE)
    if "Wearing_Necklace" in face.has:
        string = [(CENTRE + (face.neck + 0.025) * x, 0.868 + 0.06 * h) for x, h in BOW]
        canvas.line(string[::2], 0.012, INK)
        for x, y in string[::2]:
            canvas.ellipse(x, y, 0.027, 0.027, INK)
            canvas.ellipse(x, y, 0.02, 0.02, (255, 250, 225))
