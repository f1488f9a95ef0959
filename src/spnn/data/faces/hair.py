"""Hair: what falls behind the head, what lies on it, and its strands."""

import math

from spnn.data.faces.canvas import ARC, Canvas, beside
from spnn.data.faces.design import CENTRE, SCALLOPS, TEMPLE_Y, Face

__all__ = ["draw_hair_behind", "draw_hair_front"]

WAVE = [(i / 12 - 1, math.sin(math.pi * i / 3)) for i in range(25)]  # four periods from -1 to 1


def draw_hair_behind(canvas: Canvas, face: Face) -> None:
    if "Bald" in face.has:
        return
    width, end, inside = face.hair_width, face.hair_end, (0.1, face.hair_end)
    if "Wavy_Hair" in face.has:
        curls = max(1, round((end - TEMPLE_Y) / 0.085))
        bumps, step = SCALLOPS[: 5 * curls + 1], (end - TEMPLE_Y) / (5 * curls)
        edge = [(width - 0.015 + 0.05 * bump, TEMPLE_Y + step * i) for i, bump in enumerate(bumps)]
    elif "Straight_Hair" in face.has:
        edge = [(width, TEMPLE_Y), (width + 0.16 * (end - TEMPLE_Y), end)]
    else:
        bend = min(0.08, end - TEMPLE_Y)
        edge = [(width, TEMPLE_Y), (width, end - bend), (width - 0.02, end - 0.35 * bend), (width - 0.07, end)]
    edge = [*edge, inside]
    canvas.polygon(face.dome + beside(CENTRE, 1, edge) + beside(CENTRE, -1, edge)[::-1], face.hair)
    if "Straight_Hair" in face.has:
        for side in (-1, 1):
            for inset, flare in ((0.02, 0.1), (0.055, 0.04)):
                strand = [(width - inset, TEMPLE_Y - 0.1), (width - inset + flare * (end - TEMPLE_Y), end)]
                canvas.line(beside(CENTRE, side, strand), 0.016, face.strand)


def draw_hair_front(canvas: Canvas, face: Face) -> None:
    if "Bald" in face.has:
        return
    w, part = face.half_width, face.part
    if "Receding_Hairline" in face.has:
        half = [(w, TEMPLE_Y), (w - 0.01, 0.34), (w - 0.03, 0.26), (0.185, 0.185), (0.14, 0.15), (0.1, 0.148)]
        half += [(0.06, 0.18), (0.02, 0.197)]
        hairline = beside(CENTRE, 1, half) + beside(CENTRE, -1, half)[::-1]
    elif "Bangs" in face.has:
        half = [(w, TEMPLE_Y), (w - 0.01, 0.37), (w - 0.04, 0.33), (0.12, 0.322)]
        hairline = [*beside(CENTRE, 1, half), (CENTRE + part, 0.305), *beside(CENTRE, -1, half)[::-1]]
    else:
        hairline = [(CENTRE + (w - 0.012) * x + part * y**4, TEMPLE_Y - 0.19 * y) for x, y in ARC[::2]]
    canvas.polygon([*face.dome, (CENTRE + w, TEMPLE_Y), *hairline, (CENTRE - w, TEMPLE_Y)], face.hair)
    _draw_strands(canvas, face)


def _draw_strands(canvas: Canvas, face: Face) -> None:
    bangs, receding = "Bangs" in face.has, "Receding_Hairline" in face.has
    if "Straight_Hair" in face.has:
        low = 0.3 if bangs else 0.15 if receding else 0.215
        crown, outer = CENTRE + 0.4 * face.part, face.hair_width - 0.025
        for x, y in ((-outer, 0.38), (-0.17, low + 0.025), (-0.085, low), (0.0, low)):
            for side in (-1, 1) if x else (1,):
                canvas.line([(crown + 0.35 * x * side, 0.115), (CENTRE + x * side, y)], 0.016, face.strand)
    elif "Wavy_Hair" in face.has:
        rows = [(0.125, 0.13), (0.175, 0.19)] if not receding else [(0.12, 0.14)]
        if bangs:
            rows.append((0.265, 0.2))
        for y, reach in rows:
            canvas.line([(CENTRE + reach * x, y + 0.014 * wave) for x, wave in WAVE], 0.016, face.strand)
