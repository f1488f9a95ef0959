"""The features of the face: eyes, brows, nose and mouth."""

from spnn.data.faces.canvas import BLACK, BOW, INK, WHITE, Canvas, beside, from_hsv, mix
from spnn.data.faces.design import EYE_X, EYE_Y, Face

__all__ = ["draw_brows", "draw_eyes", "draw_mouth", "draw_nose"]

BROW_Y, NOSE_Y, MOUTH_Y = 0.345, 0.56, 0.655


def draw_eyes(canvas: Canvas, face: Face) -> None:
    size = 1.14 if "Attractive" in face.has else 0.94
    rx, ry = 0.07 * size, (0.021 if "Narrow_Eyes" in face.has else 0.046) * size
    for side in (-1, 1):
        x = face.axis + side * EYE_X
        if "Heavy_Makeup" in face.has:
            canvas.ellipse(x + side * 0.012, EYE_Y - 0.022, 0.094, 0.066, from_hsv(0.72 + 0.18 * face.accent, 0.8, 0.7))
            canvas.ellipse(x, EYE_Y + 0.03, 0.08, 0.03, face.skin)
        if "Bags_Under_Eyes" in face.has:
            canvas.ellipse(x, EYE_Y + 0.053, 0.068, 0.031, mix(face.skin, (64, 24, 110), 0.62))
            canvas.ellipse(x, EYE_Y + 0.026, 0.07, 0.03, face.skin)
        canvas.ellipse(x, EYE_Y - 0.01, rx + 0.004, ry + 0.006, INK)
        canvas.ellipse(x, EYE_Y, rx, ry, (252, 252, 250))
        _draw_iris(canvas, face, x + face.gaze[0], ry, size)
        if "Male" not in face.has:
            for along, up in ((0.55, 0.012), (0.85, 0.0)):
                lash = [(along * rx, EYE_Y - ry * (1.35 - along)), (along * rx + 0.03, EYE_Y - ry * 1.1 - up)]
                canvas.line(beside(x, side, lash), 0.012, INK)


def _draw_iris(canvas: Canvas, face: Face, x: float, opening: float, size: float) -> None:
    rx = 0.041 * size
    ry = min(rx, opening)
    y = EYE_Y + min(opening - ry, 0.004) + face.gaze[1] * (ry == rx)
    attractive = "Attractive" in face.has
    canvas.ellipse(x, y, rx, ry, (16, 186, 208) if attractive else (66, 38, 24))
    canvas.ellipse(x, y, 0.45 * rx, 0.45 * ry, BLACK)
    glint = 0.014 if attractive else 0.007
    canvas.ellipse(x + 0.013, y - 0.4 * ry, glint, min(glint, 0.5 * ry), WHITE)


def draw_brows(canvas: Canvas, face: Face) -> None:
    thick = 0.058 if "Bushy_Eyebrows" in face.has else 0.017
    arched = "Arched_Eyebrows" in face.has
    rise, foot = (0.062, BROW_Y + 0.022) if arched else (0.01, BROW_Y + 0.004)
    upper = [(EYE_X + 0.01 + 0.085 * x, foot - rise * h - 0.5 * thick * h**0.3) for x, h in BOW]
    lower = [(EYE_X + 0.01 + 0.085 * x, foot - rise * h + 0.5 * thick * h**0.3) for x, h in BOW]
    for side in (-1, 1):
        canvas.polygon(beside(face.axis, side, upper + lower[::-1]), face.brow)


def draw_nose(canvas: Canvas, face: Face) -> None:
    size = 2.1 if "Big_Nose" in face.has else 1.0
    x = face.axis
    if "Pointy_Nose" in face.has:
        w, tip = 0.036 * size, NOSE_Y + 0.014 + 0.012 * size
        canvas.polygon([(x, 0.42), (x + w, NOSE_Y), (x, tip)], mix(face.skin, (70, 24, 16), 0.45))
        canvas.polygon([(x, 0.42), (x - w, NOSE_Y), (x, tip)], mix(face.skin, WHITE, 0.5))
        return
    rx, ry = 0.04 * size, 0.026 * size
    y = NOSE_Y + 0.01 - 0.25 * ry
    canvas.ellipse(x, y, rx, ry, face.line)
    canvas.ellipse(x, y - 0.012, rx * 0.94, ry * 0.9, mix(face.skin, (130, 30, 30), 0.34))
    for side in (-1, 1):
        canvas.ellipse(x + side * rx * 0.5, y + ry * 0.45, 0.009 * size, 0.006 * size, face.line)


def draw_mouth(canvas: Canvas, face: Face) -> None:
    width, curve = (0.15, 0.064) if "Smiling" in face.has else (0.1, 0.0)
    upper, lower = (0.042, 0.055) if "Big_Lips" in face.has else (0.013, 0.018)
    gap = 0.05 if "Mouth_Slightly_Open" in face.has else 0.0
    if "Wearing_Lipstick" in face.has:
        lips = mix((226, 0, 36), (216, 0, 110), face.variant[0])
    else:
        lips = mix(face.skin, (130, 48, 46), 0.55)

    base = MOUTH_Y - 0.55 * curve - 0.3 * gap
    middle = [(face.axis + width * x, base + curve * h) for x, h in BOW]
    floor = [(x, y + gap * h**0.7) for (x, y), (_, h) in zip(middle, BOW, strict=True)]
    over = [(x, y - upper * h**0.6) for (x, y), (_, h) in zip(middle, BOW, strict=True)]
    under = [(x, y + lower * h**0.6) for (x, y), (_, h) in zip(floor, BOW, strict=True)]
    canvas.polygon(over + under[::-1], lips)
    if gap:
        teeth = [(x, y + 0.4 * gap * h) for (x, y), (_, h) in zip(middle, BOW, strict=True)]
        canvas.polygon(middle + floor[::-1], (66, 10, 20))
        canvas.polygon(middle + teeth[::-1], (252, 252, 248))
    else:
        canvas.line(middle[::2], 0.012, mix(lips, BLACK, 0.5))
