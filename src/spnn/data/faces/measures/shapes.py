"""The positions of the renderer's shapes in the picture, without drawing them."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from spnn.data.faces.canvas import Canvas, Colour, Point
from spnn.data.faces.design import Face
from spnn.data.faces.measures.scene import Pose

__all__ = ["Ellipse", "Shapes"]


class Ellipse(NamedTuple):
    """Centre, width and height, in units of the picture's side."""

    centre: Point
    width: float
    height: float


class Shapes(Canvas):
    """A canvas that draws nothing, but keeps the polygons and the ellipses of one of the renderer's functions.

    Attributes:
        polygons: Their corners, in units of the picture's side.
        ellipses: The ellipses, in the order in which they are drawn.
    """

    def __init__(self, draw: Callable[[Canvas, Face], None], face: Face, pose: Pose) -> None:
        super().__init__(Image.new("1", (1, 1)), *pose)  # one pixel wide: the picture's side is the unit
        self.polygons: list[list[Point]] = []
        self.ellipses: list[Ellipse] = []
        draw(self, face)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        self.polygons.append(self.place(points))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        (centre,) = self.place([(x, y)])
        self.ellipses.append(Ellipse(centre, 2 * rx * self.unit, 2 * ry * self.unit))

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        pass
