"""The design of one face: geometry and colours, chosen from its attributes and from random numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from spnn.data.faces.canvas import ARC, BLACK, WHITE, Colour, Point, from_hsv, mix

__all__ = ["CENTRE", "EYE_X", "EYE_Y", "SCALLOPS", "TEMPLE_Y", "Face", "design"]

CENTRE = 0.5  # the head's axis
EYE_X, EYE_Y = 0.118, 0.435  # an eye's distance from the axis, and its height
TEMPLE_Y = 0.42  # where the hair in front begins
SCALLOPS = [abs(math.sin(math.pi * 6 * i / 32)) for i in range(33)]  # six curls along ARC

HAIR_COLOURS: dict[str, Colour] = {
    "Black_Hair": (26, 23, 30),
    "Blond_Hair": (240, 205, 92),
    "Brown_Hair": (112, 66, 34),
    "Gray_Hair": (186, 188, 194),
}
GINGER: Colour = (208, 84, 24)


@dataclass(slots=True)
class Face:
    """What the drawing functions share: the attributes that are on, the nuisance, the geometry and the colours."""

    has: set[str]
    background: tuple[Colour, Colour]
    clothes: Colour
    accent: float  # a hue for hat, tie and make-up, each with its own offset
    variant: tuple[float, float, float]  # free choices in [0, 1), such as the shade of the lipstick
    gaze: Point
    part: float  # where the hair is parted
    hair_width: float  # half the width of the hair
    hair_end: float  # the y at which the hair ends
    axis: float  # x of the features: off the head's axis when the head is turned a little
    half_width: float
    chin_y: float
    neck: float
    shoulder: float
    skin: Colour
    shade: Colour
    line: Colour
    hair: Colour
    strand: Colour
    beard: Colour
    brow: Colour
    outline: list[Point]  # the head's lower half, from right to left
    dome: list[Point]  # the hair's upper half, from left to right


def design(has: set[str], u: Callable[[], float]) -> Face:
    """Choose geometry and colours; `u` hands out uniform random numbers, equally many whatever the attributes."""
    male, oval, chubby, hat = "Male" in has, "Oval_Face" in has, "Chubby" in has, "Wearing_Hat" in has

    half_width = 0.25 + 0.012 * u() + 0.06 * chubby - 0.01 * oval
    chin_y = 0.79 + 0.07 * oval + 0.01 * u()
    taper = (1.05 if oval else 0.72) - 0.1 * male - 0.1 * chubby
    outline = [(CENTRE + half_width * math.copysign(abs(x) ** taper, x), 0.45 + (chin_y - 0.45) * y) for x, y in ARC]

    skin = _skin_colour("Pale_Skin" in has, u(), u())
    hair = next((colour for name, colour in HAIR_COLOURS.items() if name in has), GINGER)
    hair = mix(hair, WHITE if u() > 0.5 else BLACK, 0.1 * u())
    own = (74, 48, 34) if "Bald" in has else hair  # what the beard and the brows are made of

    # Men's hair is mostly short and women's mostly long, but not always.  Below a hat some hair must show.
    short = u() < (0.85 if male else 0.12) and not hat
    hair_width = half_width + (0.035 if short else 0.08 if hat else 0.06)
    hair_end = 0.47 + 0.04 * u() if short else 0.68 + 0.3 * u()

    # Backgrounds keep clear of yellow to brown hues and of greys, which belong to hair and skin.
    hue = 0.27 + 0.6 * u()
    background = (
        from_hsv(hue, 0.22 + 0.25 * u(), 0.55 + 0.4 * u()),
        from_hsv(hue + 0.12 * (u() - 0.5), 0.22 + 0.25 * u(), 0.55 + 0.4 * u()),
    )
    return Face(
        has=has,
        background=background,
        clothes=from_hsv(u(), 0.25 + 0.45 * u(), 0.3 + 0.5 * u()),
        accent=u(),
        variant=(u(), u(), u()),
        gaze=(0.03 * (u() - 0.5), 0.012 * (u() - 0.5)),
        part=0.2 * (u() - 0.5),
        hair_width=hair_width,
        hair_end=hair_end,
        axis=CENTRE + 0.03 * (u() - 0.5),
        half_width=half_width,
        chin_y=chin_y,
        neck=(0.155 if male else 0.085) + 0.01 * u(),
        shoulder=(0.46 if male else 0.31) + 0.03 * u(),
        skin=skin,
        shade=mix(skin, (110, 40, 30), 0.24),
        line=mix(skin, (70, 24, 16), 0.55),
        hair=hair,
        strand=mix(hair, WHITE, 0.4) if sum(hair) < 300 else mix(hair, (90, 40, 10), 0.4),
        beard=mix(own, BLACK, 0.32),
        brow=mix(own, BLACK, 0.45),
        outline=outline,
        dome=_dome(hair_width, "Wavy_Hair" in has),
    )


def _skin_colour(pale: bool, tone: float, warmth: float) -> Colour:
    if pale:
        return mix((255, 238, 228), (250, 228, 226), tone)
    return mix(mix((238, 188, 148), (156, 104, 72), tone), (226, 160, 140), 0.25 * warmth)


def _dome(width: float, wavy: bool) -> list[Point]:
    """The hair's outline over the head, from left to right; wavy hair has scallops."""
    swell = [0.95 + 0.12 * bump for bump in SCALLOPS] if wavy else [1.0] * len(ARC)
    return [(CENTRE - width * x * k, TEMPLE_Y - 0.335 * y * k) for (x, y), k in zip(ARC, swell, strict=True)]
