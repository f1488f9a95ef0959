"""Procedural cartoon portraits with the forty attributes of CelebA.

A picture is drawn from forty booleans and from a vector of random numbers (the nuisance: pose, colours, hair length,
gaze ...) in unit coordinates, x to the right and y down, so the same face can be had at any size.  The attributes
follow one fixed code book:

===================  ===================================================================================
Attribute            What is drawn when it is on (and, after a slash, when it is off)
===================  ===================================================================================
5_o_Clock_Shadow     blue-grey tint over the whole lower face
Arched_Eyebrows      brows with a high peak / flat brows
Attractive           larger eyes with bright turquoise irises and catch-lights / dark brown irises
Bags_Under_Eyes      violet crescents under the eyes
Bald                 bare, shiny scalp
Bangs                fringe over the forehead
Big_Lips             lips about twice as thick
Big_Nose             nose about twice as wide and high
Black_Hair           black hair; with no hair colour on (and not bald) the hair is ginger
Blond_Hair           yellow hair
Blurry               Gaussian blur of about 0.8 pixels at 32 pixels, in proportion at other sizes
Brown_Hair           brown hair
Bushy_Eyebrows       thick brows / thin brows
Chubby               wide face with full cheeks
Double_Chin          second fold of skin below the chin
Eyeglasses           dark frames around both eyes, with bridge and temples
Goatee               patch of beard on the chin
Gray_Hair            light grey hair
Heavy_Makeup         strong coloured eye shadow between eye and brow
High_Cheekbones      dark slanting hollow under a light ridge on each cheek
Male                 thick neck, broad shoulders, wider jaw, mostly short hair / lashes, mostly long hair
Mouth_Slightly_Open  dark opening with teeth between the lips
Mustache             band of beard above the upper lip
Narrow_Eyes          eyes of half the height
No_Beard             clean jaw line / a beard along the jaw line
Oval_Face            long face with a tapering chin / short face with a broad chin
Pale_Skin            porcelain skin / light peach to brown
Pointy_Nose          long two-toned kite from between the eyes / round button
Receding_Hairline    high hairline with bare temples
Rosy_Cheeks          red discs on the cheeks
Sideburns            broad strips of beard in front of the ears
Smiling              wide mouth with raised corners / straight mouth
Straight_Hair        straight strands, blunt ends / neither: plain smooth hair
Wavy_Hair            scalloped outline and curly strands
Wearing_Earrings     turquoise drops with a dark rim below the ears
Wearing_Hat          coloured hat with a brim; the hair stays visible below it
Wearing_Lipstick     saturated red or pink lips / lips close to the skin
Wearing_Necklace     string of pearls around the neck
Wearing_Necktie      tie between two white collar tips
Young                smooth skin / lines on the forehead, beside the eyes and from nose to mouth
===================  ===================================================================================
"""

import math
from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from spnn.data.attributes import CELEBA_ATTRIBUTES

__all__ = ["make_face", "render_face", "sample_attributes"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
INK: Colour = (28, 24, 32)

SMALLEST_SIZE = 16
BLUR_RADIUS = 0.8 / 32  # in units of the picture's side
NUISANCES = 32  # random numbers per face, the same number for every face

CENTRE = 0.5  # the face's axis
EYE_Y, BROW_Y, NOSE_Y, MOUTH_Y = 0.435, 0.345, 0.56, 0.655
EYE_X = 0.118
TEMPLE_Y = 0.42
BRIM_Y = 0.245

HAIR_COLOURS: dict[str, Colour] = {
    "Black_Hair": (26, 23, 30),
    "Blond_Hair": (240, 205, 92),
    "Brown_Hair": (112, 66, 34),
    "Gray_Hair": (186, 188, 194),
}
GINGER: Colour = (208, 84, 24)

ARC = [(math.cos(math.pi * i / 32), math.sin(math.pi * i / 32)) for i in range(33)]  # half a circle, right to left
BOW = [(i / 6 - 1, 1 - (i / 6 - 1) ** 2) for i in range(13)]  # a parabola from -1 to 1 with height 1
SCALLOPS = [abs(math.sin(math.pi * 6 * i / 32)) for i in range(33)]  # six curls along ARC
WAVE = [(i / 12 - 1, math.sin(math.pi * i / 3)) for i in range(25)]  # four periods from -1 to 1


# ---------------------------------------------------------------------------------------------------------------------
# Attributes


class _Lots:
    """One uniform number per attribute, drawn at once, and the booleans decided from them so far."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.draw = dict(zip(CELEBA_ATTRIBUTES, rng.random(len(CELEBA_ATTRIBUTES)).tolist(), strict=True))
        self.on: dict[str, bool] = {}

    def decide(self, name: str, probability: float) -> bool:
        self.on[name] = self.draw[name] < probability
        return self.on[name]


def sample_attributes(rng: np.random.Generator) -> np.ndarray:
    """Draw forty booleans with plausible correlations, none of them rarer than about one in sixteen."""
    lots = _Lots(rng)
    male = lots.decide("Male", 0.48)
    young = lots.decide("Young", 0.62)
    _sample_hair(lots, male, young)
    _sample_beard(lots, male)
    _sample_features(lots, male, young)
    _sample_accessories(lots, male, young)
    return np.array([lots.on[name] for name in CELEBA_ATTRIBUTES])


def _sample_hair(lots: _Lots, male: bool, young: bool) -> None:
    bald = lots.decide("Bald", (0.2 if young else 0.3) if male else 0.02)
    hat = lots.decide("Wearing_Hat", 0.0 if bald else 0.2)
    bangs = lots.decide("Bangs", 0.0 if bald else 0.18 if male else 0.35)
    lots.decide("Receding_Hairline", 0.0 if bald or bangs or hat else 0.4 if male or not young else 0.1)

    # At most one colour and at most one texture: one number falls into one share of the unit interval, or into none.
    gray, blond = (0.06 if young else 0.42), (0.14 if male else 0.24)
    colours = {"Gray_Hair": gray, "Blond_Hair": blond, "Black_Hair": 0.34 - 0.3 * gray, "Brown_Hair": 0.34 - 0.3 * gray}
    textures = {"Wavy_Hair": 0.28 if male else 0.4, "Straight_Hair": 0.34}
    for shares, position in ((colours, lots.draw["Black_Hair"]), (textures, lots.draw["Wavy_Hair"])):
        for name, share in shares.items():
            lots.on[name] = not bald and 0.0 <= position < share
            position -= share


def _sample_beard(lots: _Lots, male: bool) -> None:
    bearded = not lots.decide("No_Beard", 0.4 if male else 1.0)
    for part in ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns"):
        lots.decide(part, 0.42 if bearded else 0.0)


def _sample_features(lots: _Lots, male: bool, young: bool) -> None:
    lots.decide("Attractive", 0.58 if young else 0.35)
    lots.decide("Arched_Eyebrows", 0.2 if male else 0.5)
    lots.decide("Bushy_Eyebrows", 0.4 if male else 0.15)
    lots.decide("Bags_Under_Eyes", 0.18 if young else 0.4)
    lots.decide("Narrow_Eyes", 0.28)
    lots.decide("Pale_Skin", 0.2)

    chubby = lots.decide("Chubby", 0.25)
    lots.decide("Double_Chin", 0.55 if chubby else 0.1)
    lots.decide("Oval_Face", 0.25 if chubby else 0.45)
    lots.decide("High_Cheekbones", 0.3 if chubby else 0.45)
    lots.decide("Big_Nose", 0.4 if male else 0.25)
    lots.decide("Pointy_Nose", 0.35)
    lots.decide("Big_Lips", 0.25 if male else 0.4)
    smiling = lots.decide("Smiling", 0.48)
    lots.decide("Mouth_Slightly_Open", 0.6 if smiling else 0.3)
    lots.decide("Blurry", 0.12)


def _sample_accessories(lots: _Lots, male: bool, young: bool) -> None:
    makeup = lots.decide("Heavy_Makeup", 0.04 if male else 0.5)
    lots.decide("Wearing_Lipstick", 0.04 if male else 0.8 if makeup else 0.35)
    lots.decide("Rosy_Cheeks", 0.12 if male else 0.45 if makeup else 0.3)
    lots.decide("Eyeglasses", 0.15 if young else 0.28)
    lots.decide("Wearing_Earrings", 0.08 if male else 0.5)
    lots.decide("Wearing_Necklace", 0.08 if male else 0.42)
    lots.decide("Wearing_Necktie", 0.42 if male else 0.05)


# ---------------------------------------------------------------------------------------------------------------------
# Drawing surface


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The first colour with `share` of the second one in it."""
    rest = 1.0 - share
    return (
        int(first[0] * rest + second[0] * share),
        int(first[1] * rest + second[1] * share),
        int(first[2] * rest + second[2] * share),
    )


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = hsv_to_rgb(hue, saturation, value)
    return (int(red * 255), int(green * 255), int(blue * 255))


def beside(axis: float, side: int, points: list[Point]) -> list[Point]:
    """Points given by their distance from the axis, put on its left (-1) or its right (+1)."""
    return [(axis + side * x, y) for x, y in points]


class Canvas:
    """A drawing surface in unit coordinates, turned, scaled and shifted as a whole."""

    def __init__(self, image: Image.Image, shift: Point, scale: float, angle: float) -> None:
        self.draw = ImageDraw.Draw(image)
        self.unit = image.width * scale
        self.cos = self.unit * math.cos(angle)
        self.sin = self.unit * math.sin(angle)
        # The picture's centre (0.5, 0.5) goes to itself plus the shift.
        self.left = image.width * (0.5 + shift[0]) - 0.5 * self.cos + 0.5 * self.sin
        self.top = image.width * (0.5 + shift[1]) - 0.5 * self.sin - 0.5 * self.cos

    def place(self, points: list[Point]) -> list[Point]:
        c, s, left, top = self.cos, self.sin, self.left, self.top
        return [(left + c * x - s * y, top + s * x + c * y) for x, y in points]

    def polygon(self, points: list[Point], colour: Colour) -> None:
        self.draw.polygon(self.place(points), colour)

    def symmetric(self, axis: float, half: list[Point], colour: Colour) -> None:
        """A polygon and its mirror image, joined; `half` holds distances from the axis, from top to bottom."""
        self.polygon(beside(axis, 1, half) + beside(axis, -1, half)[::-1], colour)

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        pixels = max(1, round(width * self.unit))
        self.draw.line(self.place(points), colour, pixels, "curve" if len(points) > 2 else None)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        self.draw.ellipse(self._box(x, y, rx, ry), colour)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, colour: Colour) -> None:
        self.draw.ellipse(self._box(x, y, rx, ry), None, colour, max(1, round(width * self.unit)))

    def _box(self, x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
        # Angles are small, so an ellipse keeps its axes and only its centre is turned.
        cx = self.left + self.cos * x - self.sin * y
        cy = self.top + self.sin * x + self.cos * y
        # Pillow's ellipses reach half a pixel too far, which would make small pictures differ from large ones.
        rx, ry = max(0.0, rx * self.unit - 0.5), max(0.0, ry * self.unit - 0.5)
        return (cx - rx, cy - ry, cx + rx, cy + ry)


# ---------------------------------------------------------------------------------------------------------------------
# Geometry and colours of one face


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


def _design(has: set[str], u: list[float]) -> Face:
    """Choose geometry and colours; `u` holds uniform random numbers, some of which a given face may not need."""
    male, oval, chubby, hat = "Male" in has, "Oval_Face" in has, "Chubby" in has, "Wearing_Hat" in has

    half_width = 0.25 + 0.012 * u[0] + 0.06 * chubby - 0.01 * oval
    chin_y = 0.79 + 0.07 * oval + 0.01 * u[1]
    taper = (1.05 if oval else 0.72) - 0.1 * male - 0.1 * chubby
    outline = [(CENTRE + half_width * math.copysign(abs(x) ** taper, x), 0.45 + (chin_y - 0.45) * y) for x, y in ARC]

    skin = _skin_colour("Pale_Skin" in has, u[2], u[3])
    hair = next((colour for name, colour in HAIR_COLOURS.items() if name in has), GINGER)
    hair = mix(hair, WHITE if u[4] > 0.5 else BLACK, 0.1 * u[5])
    own = (74, 48, 34) if "Bald" in has else hair  # what the beard and the brows are made of

    # Men's hair is mostly short and women's mostly long, but not always.  Below a hat some hair must show.
    short = u[6] < (0.85 if male else 0.12) and not hat
    hair_width = half_width + (0.035 if short else 0.08 if hat else 0.06)
    hair_end = 0.47 + 0.04 * u[7] if short else 0.68 + 0.3 * u[7]

    # Backgrounds keep clear of yellow to brown hues and of greys, which belong to hair and skin.
    hue = 0.27 + 0.6 * u[8]
    background = (
        from_hsv(hue, 0.22 + 0.25 * u[9], 0.55 + 0.4 * u[10]),
        from_hsv(hue + 0.12 * (u[11] - 0.5), 0.22 + 0.25 * u[12], 0.55 + 0.4 * u[13]),
    )
    return Face(
        has=has,
        background=background,
        clothes=from_hsv(u[14], 0.25 + 0.45 * u[15], 0.3 + 0.5 * u[16]),
        accent=u[17],
        variant=(u[18], u[19], u[20]),
        gaze=(0.03 * (u[21] - 0.5), 0.012 * (u[22] - 0.5)),
        part=0.2 * (u[23] - 0.5),
        hair_width=hair_width,
        hair_end=hair_end,
        axis=CENTRE + 0.03 * (u[24] - 0.5),
        half_width=half_width,
        chin_y=chin_y,
        neck=(0.155 if male else 0.085) + 0.01 * u[25],
        shoulder=(0.46 if male else 0.31) + 0.03 * u[26],
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


# ---------------------------------------------------------------------------------------------------------------------
# Drawing, from back to front


def _draw_hair_behind(canvas: Canvas, face: Face) -> None:
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


def _draw_body(canvas: Canvas, face: Face) -> None:
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


def _draw_head(canvas: Canvas, face: Face) -> None:
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


def _draw_rouge(canvas: Canvas, face: Face) -> None:
    if "Rosy_Cheeks" not in face.has:
        return
    away = face.half_width - 0.082
    for side in (-1, 1):
        canvas.ellipse(face.axis + side * away, 0.552, 0.058, 0.042, mix(face.skin, (244, 62, 84), 0.62))


def _draw_cheekbones(canvas: Canvas, face: Face) -> None:
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


def _draw_age(canvas: Canvas, face: Face) -> None:
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


def _draw_beard(canvas: Canvas, face: Face) -> None:
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


def _draw_moustache(canvas: Canvas, face: Face) -> None:
    if "Mustache" in face.has:
        half = [(0.0, 0.598), (0.04, 0.59), (0.08, 0.6), (0.125, 0.63), (0.145, 0.665), (0.06, 0.638), (0.0, 0.632)]
        canvas.symmetric(face.axis, half, face.beard)


def _draw_eyes(canvas: Canvas, face: Face) -> None:
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


def _draw_brows(canvas: Canvas, face: Face) -> None:
    thick = 0.058 if "Bushy_Eyebrows" in face.has else 0.017
    arched = "Arched_Eyebrows" in face.has
    rise, foot = (0.062, BROW_Y + 0.022) if arched else (0.01, BROW_Y + 0.004)
    upper = [(EYE_X + 0.01 + 0.085 * x, foot - rise * h - 0.5 * thick * h**0.3) for x, h in BOW]
    lower = [(EYE_X + 0.01 + 0.085 * x, foot - rise * h + 0.5 * thick * h**0.3) for x, h in BOW]
    for side in (-1, 1):
        canvas.polygon(beside(face.axis, side, upper + lower[::-1]), face.brow)


def _draw_nose(canvas: Canvas, face: Face) -> None:
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


def _draw_mouth(canvas: Canvas, face: Face) -> None:
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


def _draw_hair_front(canvas: Canvas, face: Face) -> None:
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
    canvas.polygon(face.dome + [(CENTRE + w, TEMPLE_Y)] + hairline + [(CENTRE - w, TEMPLE_Y)], face.hair)
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


def _draw_glasses(canvas: Canvas, face: Face) -> None:
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


def _draw_hat(canvas: Canvas, face: Face) -> None:
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


def _draw_jewellery(canvas: Canvas, face: Face) -> None:
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


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


def _background(colours: tuple[Colour, Colour], side: int) -> Image.Image:
    """A vertical gradient: two pixels stretched over the picture."""
    top, bottom = colours
    strip = Image.frombytes("RGB", (1, 2), bytes((*top, *bottom)))
    return strip.resize((1, side), Image.Resampling.BILINEAR).resize((side, side), Image.Resampling.NEAREST)


def _supersampling(size: int) -> int:
    return 4 if size <= 48 else 3 if size <= 96 else 2


def _attribute_set(attributes: np.ndarray) -> set[str]:
    flags = np.asarray(attributes)
    if flags.shape != (len(CELEBA_ATTRIBUTES),):
        raise ValueError(f"attributes must have shape ({len(CELEBA_ATTRIBUTES)},), got {flags.shape}")
    return {name for name, flag in zip(CELEBA_ATTRIBUTES, flags.tolist(), strict=True) if flag}


def render_face(attributes: np.ndarray, rng: np.random.Generator, size: int = 32) -> np.ndarray:
    """Draw the face with these forty attributes; `rng` chooses all the rest, independently of attributes and size.

    Returns a picture of shape [size, size, 3], uint8.
    """
    if size < SMALLEST_SIZE:
        raise ValueError(f"size must be at least {SMALLEST_SIZE} pixels, got {size}")
    has = _attribute_set(attributes)
    u = rng.random(NUISANCES).tolist()
    face = _design(has, u)

    factor = _supersampling(size)
    image = _background(face.background, size * factor)
    shift = (0.05 * (u[27] - 0.5), 0.04 * (u[28] - 0.5))
    canvas = Canvas(image, shift, scale=0.96 + 0.08 * u[29], angle=0.14 * (u[30] - 0.5))

    _draw_hair_behind(canvas, face)
    _draw_body(canvas, face)
    _draw_head(canvas, face)
    _draw_rouge(canvas, face)
    _draw_beard(canvas, face)
    _draw_cheekbones(canvas, face)
    _draw_age(canvas, face)
    _draw_eyes(canvas, face)
    _draw_nose(canvas, face)
    _draw_mouth(canvas, face)
    _draw_moustache(canvas, face)
    _draw_hair_front(canvas, face)
    _draw_brows(canvas, face)
    _draw_glasses(canvas, face)
    _draw_hat(canvas, face)
    _draw_jewellery(canvas, face)

    image = image.reduce(factor)
    if "Blurry" in has:
        image = image.filter(ImageFilter.GaussianBlur(BLUR_RADIUS * size))
    return np.array(image)


def make_face(seed: int, index: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Picture and attributes of face `index` of the endless series `seed`, the same face at every size."""
    rng = np.random.default_rng((seed, index))
    attributes = sample_attributes(rng)
    return render_face(attributes, rng, size), attributes
