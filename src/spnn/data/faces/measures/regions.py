"""What each pixel of a face shows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from spnn.data.faces.canvas import Canvas
from spnn.data.faces.design import Face
from spnn.data.faces.features import draw_brows, draw_eyes, draw_mouth, draw_nose
from spnn.data.faces.hair import draw_hair_behind, draw_hair_front
from spnn.data.faces.head import draw_age, draw_beard, draw_cheekbones, draw_head, draw_moustache, draw_rouge
from spnn.data.faces.measures.eyes import AROUND_EYES
from spnn.data.faces.measures.scene import make_scene
from spnn.data.faces.outfit import draw_body, draw_glasses, draw_hat, draw_jewellery
from spnn.data.faces.rendering import LAYERS, SMALLEST_SIZE

__all__ = ["REGIONS", "coarse", "face_regions"]

REGIONS = ("background", "clothes", "skin", "hair", "eyes", "glasses", "hat")
BACKGROUND, CLOTHES, SKIN, HAIR, EYES, GLASSES, HAT = range(len(REGIONS))

FACTOR = 4  # drawn larger by this factor, so that each pixel gets the region that covers most of it

# What each of the renderer's functions draws: the region of its first shape, of its second, and so on, the last one for
# all further shapes; and attributes that are left out, because their shapes count as the region below them.
PASSES: dict[Callable[[Canvas, Face], None], list[tuple[tuple[int, ...], frozenset[str]]]] = {
    draw_hair_behind: [((HAIR,), frozenset())],
    draw_body: [((CLOTHES, SKIN, SKIN, SKIN, CLOTHES), frozenset())],  # shoulders, three shapes of the neck, tie
    draw_head: [((SKIN,), frozenset())],
    draw_rouge: [((SKIN,), frozenset())],
    draw_beard: [((HAIR,), frozenset({"5_o_Clock_Shadow"}))],
    draw_cheekbones: [((SKIN,), frozenset())],
    draw_age: [((SKIN,), frozenset())],
    draw_eyes: [((SKIN,), frozenset()), ((EYES,), AROUND_EYES)],  # first the make-up, then the eyes on it
    draw_nose: [((SKIN,), frozenset())],
    draw_mouth: [((SKIN,), frozenset())],
    draw_moustache: [((HAIR,), frozenset())],
    draw_hair_front: [((HAIR,), frozenset())],
    draw_brows: [((HAIR,), frozenset())],
    draw_glasses: [((GLASSES,), frozenset())],
    draw_hat: [((HAT,), frozenset())],
    draw_jewellery: [((CLOTHES,), frozenset())],
}


def face_regions(seed: int, index: int, size: int = 32) -> np.ndarray:
    """The region on top in each pixel, as its place in :data:`REGIONS`, uint8 [size, size].

    =========== ==================================================================================
    background  everything except the person
    clothes     shoulders, tie, earrings and necklace
    skin        head, ears and neck, with nose, mouth, make-up and stubble
    hair        hair, beard and brows
    eyes        the openings between the lids, with their dark rim and the lashes
    glasses     frames, not what is seen through them
    hat         with its brim
    =========== ==================================================================================

    A blurry picture has the same map as the sharp one. The mirrored picture's map has its columns reversed.

    Raises:
        ValueError: If the size is less than 16.
    """
    if size < SMALLEST_SIZE:
        raise ValueError(f"size must be at least {SMALLEST_SIZE} pixels, got {size}")
    face, pose = make_scene(seed, index)
    image = Image.new("L", (size * FACTOR, size * FACTOR), BACKGROUND)
    canvas = Canvas(image, *pose)
    canvas.draw = pen = _Pen(canvas.draw)
    for draw in LAYERS:
        for regions, left_out in PASSES[draw]:
            pen.take(regions)
            draw(canvas, replace(face, has=face.has - left_out))
    return coarse(np.asarray(image), size)


def coarse(regions: np.ndarray, grid: int) -> np.ndarray:
    """Reduce a map of regions, uint8 [H, W], to ``grid`` x ``grid`` cells, uint8: the region that covers most of each
    cell; in a tie, the one that comes first in :data:`REGIONS`.
    """
    starts = [np.arange(grid) * side // grid for side in regions.shape]
    counts = [
        np.add.reduceat(np.add.reduceat(regions == region, starts[0], 0, dtype=int), starts[1], 1)
        for region in range(len(REGIONS))
    ]
    return np.argmax(counts, 0).astype(np.uint8)


class _Pen:
    """Draws the canvas's shapes, but in the colour of a region."""

    def __init__(self, draw: ImageDraw.ImageDraw):
        self.draw = draw
        self.regions: Iterator[int] = repeat(BACKGROUND)

    def take(self, regions: Iterable[int]) -> None:
        """Use these regions, one per shape, and the last one for all further shapes."""
        *first, last = regions
        self.regions = chain(first, repeat(last))

    def polygon(self, points: list, colour: Any) -> None:
        self.draw.polygon(points, next(self.regions))

    def line(self, points: list, colour: Any, width: int, joint: str | None) -> None:
        self.draw.line(points, next(self.regions), width, joint)

    def ellipse(self, box: tuple, fill: Any, outline: Any = None, width: int = 1) -> None:
        region = next(self.regions)
        self.draw.ellipse(box, None if fill is None else region, None if outline is None else region, width)
