"""The bare head and what shows on its skin: rouge, cheekbones, the lines of age, and the beard."""

from spnn.data.faces.canvas import ARC, BOW, WHITE, Canvas, beside, mix
from spnn.data.faces.design import CENTRE, EYE_Y, Face

__all__ = ["draw_age", "draw_beard", "draw_cheekbones", "draw_head", "draw_moustache", "draw_rouge"]


def draw_head(canvas: Canvas, face: Face) -> None:
    for side in (-1, 1):
        x = CENTRE + side * (face.half_width + 0.005)
        canvas.ellipse(x, 0.475, 0.035, 0.06, face.skin)
        canvas.ellipse(x, 0.475, 0.018, 0.038, face.shade)
    if "Double_Chin" in face.has:
        _draw_double_chin(canvas, face)
    skull = [(CENTRE - face.half_width * x, 0.45 - 0.31 * y) for x, y in ARC]
    canvas.polygon(face.outline + skull, face.skin)
    if "Bald" in face.has:
        canvas.ellipse(CENTRE + 0.08, 0.215, 0.075, 0.035, mix(face.skin, WHITE, 0.75))


def _draw_double_chin(canvas: Canvas, face: Face) -> None:
    y = face.chin_y - 0.03
    canvas.ellipse(CENTRE, y, 0.205, 0.112, face.line)
    canvas.ellipse(CENTRE, y - 0.018, 0.195, 0.108, face.skin)
    canvas.ellipse(CENTRE, y - 0.035, 0.18, 0.088, face.line)


def draw_rouge(canvas: Canvas, face: Face) -> None:
    if "Rosy_Cheeks" not in face.has:
        return
    away = face.half_width - 0.082
    for side in (-1, 1):
        canvas.ellipse(face.axis + side * away, 0.552, 0.058, 0.042, mix(face.skin, (244, 62, 84), 0.62))


def draw_cheekbones(canvas: Canvas, face: Face) -> None:
    """A light ridge and the hollow below it, far enough from the ear to leave room for sideburns."""
    if "High_Cheekbones" not in face.has:
        return
    spread = face.half_width - 0.25
    ridge = [(0.22, 0.527), (0.18, 0.55), (0.135, 0.588), (0.11, 0.62), (0.15, 0.618), (0.19, 0.602), (0.222, 0.576)]
    hollow = [(0.22, 0.59), (0.19, 0.612), (0.142, 0.632), (0.152, 0.662), (0.18, 0.676), (0.21, 0.66)]
    for side in (-1, 1):
        inner = CENTRE + side * spread
        canvas.polygon(beside(inner, side, hollow), mix(face.skin, (84, 20, 10), 0.48))
        canvas.polygon(beside(inner, side, ridge), mix(face.skin, (255, 246, 232), 0.6))


def draw_age(canvas: Canvas, face: Face) -> None:
    if "Young" in face.has:
        return
    for y, reach in ((0.275, 0.1), (0.308, 0.12)):
        canvas.line([(face.axis + reach * x, y - 0.014 * h) for x, h in BOW[::2]], 0.012, face.line)
    fold = [(0.072, 0.575), (0.108, 0.597), (0.138, 0.628), (0.154, 0.664), (0.158, 0.705)]
    for side in (-1, 1):
        canvas.line(beside(face.axis, side, fold), 0.014, face.line)
        for rise in (-0.022, 0.022):
            crow = [(0.205, EYE_Y + 0.3 * rise), (0.24, EYE_Y + rise)]
            canvas.line(beside(face.axis, side, crow), 0.01, face.line)


def draw_beard(canvas: Canvas, face: Face) -> None:
    if "5_o_Clock_Shadow" in face.has:
        lip = [(-0.19, 0.635), (-0.13, 0.605), (-0.05, 0.59), (0.05, 0.59), (0.13, 0.605), (0.19, 0.635)]
        stubble = [point for point in face.outline if point[1] > 0.57] + beside(face.axis, 1, lip)
        canvas.polygon(stubble, mix(face.skin, (62, 78, 98), 0.48))
    if "No_Beard" not in face.has:
        outer = [point for point in face.outline if point[1] > 0.6]
        depth = [min(1.0, 3.0 * (y - 0.59) / (face.chin_y - 0.59)) for _, y in outer]
        inner = [
            (CENTRE + (x - CENTRE) * (1.0 - 0.17 * d), y - 0.055 * d) for (x, y), d in zip(outer, depth, strict=True)
        ]
        canvas.polygon(outer + inner[::-1], face.beard)
    if "Sideburns" in face.has:
        w = face.half_width
        strip = [(w, 0.4), (w, 0.5), (w - 0.01, 0.61), (w - 0.05, 0.645), (w - 0.08, 0.63), (w - 0.05, 0.4)]
        for side in (-1, 1):
            canvas.polygon(beside(CENTRE, side, strip), face.beard)
    if "Goatee" in face.has:
        chin = face.chin_y
        patch = [(0.04, 0.69), (0.085, 0.715), (0.1, chin - 0.04), (0.075, chin + 0.025), (0.0, chin + 0.055)]
        canvas.symmetric(face.axis, patch, face.beard)


def draw_moustache(canvas: Canvas, face: Face) -> None:
    if "Mustache" in face.has:
        half = [(0.0, 0.598), (0.04, 0.59), (0.08, 0.6), (0.125, 0.63), (0.145, 0.665), (0.06, 0.638), (0.0, 0.632)]
        canvas.symmetric(face.axis, half, face.beard)
