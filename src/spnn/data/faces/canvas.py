"""What to draw with: colours, curves, and a canvas in unit coordinates."""

import math
from colorsys import hsv_to_rgb

from PIL import Image, ImageDraw

__all__ = ["ARC", "BLACK", "BOW", "INK", "WHITE", "Canvas", "Colour", "Point", "beside", "from_hsv", "mix"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
INK: Colour = (28, 24, 32)

ARC = [(math.cos(math.pi * i / 32), math.sin(math.pi * i / 32)) for i in range(33)]  # half a circle, right to left
BOW = [(i / 6 - 1, 1 - (i / 6 - 1) ** 2) for i in range(13)]  # a parabola from -1 to 1 with height 1


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
