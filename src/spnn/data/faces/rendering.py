"""From attributes and random numbers to a picture: the layers of a face on its background."""

import numpy as np
from PIL import Image, ImageFilter

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.faces.canvas import Canvas, Colour
from spnn.data.faces.design import design
from spnn.data.faces.features import draw_brows, draw_eyes, draw_mouth, draw_nose
from spnn.data.faces.hair import draw_hair_behind, draw_hair_front
from spnn.data.faces.head import draw_age, draw_beard, draw_cheekbones, draw_head, draw_moustache, draw_rouge
from spnn.data.faces.outfit import draw_body, draw_glasses, draw_hat, draw_jewellery
from spnn.data.faces.sampling import sample_attributes

__all__ = ["make_face", "render_face"]

SMALLEST_SIZE = 16
BLUR_RADIUS = 0.8 / 32  # in units of the picture's side
NUISANCES = 31  # random numbers per face, the same number for every face

LAYERS = (  # from back to front
    draw_hair_behind,
    draw_body,
    draw_head,
    draw_rouge,
    draw_beard,
    draw_cheekbones,
    draw_age,
    draw_eyes,
    draw_nose,
    draw_mouth,
    draw_moustache,
    draw_hair_front,
    draw_brows,
    draw_glasses,
    draw_hat,
    draw_jewellery,
)


def make_face(seed: int, index: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Picture and attributes of face `index` of the endless series `seed`, the same face at every size."""
    rng = np.random.default_rng((seed, index))
    attributes = sample_attributes(rng)
    return render_face(attributes, rng, size), attributes


def render_face(attributes: np.ndarray, rng: np.random.Generator, size: int = 32) -> np.ndarray:
    """Draw the face with these forty attributes; `rng` chooses all the rest, independently of attributes and size.

    Returns a picture of shape [size, size, 3], uint8.
    """
    if size < SMALLEST_SIZE:
        raise ValueError(f"size must be at least {SMALLEST_SIZE} pixels, got {size}")
    has = _attribute_set(attributes)
    u = iter(rng.random(NUISANCES).tolist()).__next__
    face = design(has, u)

    factor = _supersampling(size)
    image = _background(face.background, size * factor)
    shift = (0.05 * (u() - 0.5), 0.04 * (u() - 0.5))
    canvas = Canvas(image, shift, scale=0.96 + 0.08 * u(), angle=0.14 * (u() - 0.5))
    for draw in LAYERS:
        draw(canvas, face)

    image = image.reduce(factor)
    if "Blurry" in has:
        image = image.filter(ImageFilter.GaussianBlur(BLUR_RADIUS * size))
    return np.array(image)


def _attribute_set(attributes: np.ndarray) -> set[str]:
    flags = np.asarray(attributes)
    if flags.shape != (len(CELEBA_ATTRIBUTES),):
        raise ValueError(f"attributes must have shape ({len(CELEBA_ATTRIBUTES)},), got {flags.shape}")
    return {name for name, flag in zip(CELEBA_ATTRIBUTES, flags.tolist(), strict=True) if flag}


def _background(colours: tuple[Colour, Colour], side: int) -> Image.Image:
    """A vertical gradient: two pixels stretched over the picture."""
    top, bottom = colours
    strip = Image.frombytes("RGB", (1, 2), bytes((*top, *bottom)))
    return strip.resize((1, side), Image.Resampling.BILINEAR).resize((side, side), Image.Resampling.NEAREST)


def _supersampling(size: int) -> int:
    return 4 if size <= 48 else 3 if size <= 96 else 2
