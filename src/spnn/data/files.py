"""Image files as pixels."""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from spnn.errors import InputError, some_of

__all__ = ["decode_image", "find_images", "load_image", "suffixes", "upright_size"]

log = logging.getLogger(__name__)

_FORMATS = {
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "QOI",
    "SGI",
    "TGA",
    "TIFF",
    "WEBP",
}
_TURNS = {  # EXIF's orientation to the transposition that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_NO_PICTURES = {"thumbs.db", "desktop.ini"}  # files that Windows leaves; other systems' begin with a dot


def suffixes() -> set[str]:
    """The endings of image files that can be read, in lower case."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in _FORMATS}


def find_images(where: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the image files given by a file, by a folder (all of its images, sorted by name), or by a list of both.

    Raises:
        InputError: If a file or folder isn't there, or a folder has no image.
    """
    if not isinstance(where, str | Path):
        return [path for part in where for path in find_images(part)]
    where = Path(where).expanduser()
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise InputError(f"there is no image or folder {where} (looked from {Path.cwd()}).")
    readable = suffixes()
    files = sorted(path for path in where.iterdir() if path.is_file() and not path.name.startswith("."))
    found = [path for path in files if path.suffix.lower() in readable]
    others = [
        path.name for path in files if path.suffix.lower() not in readable and path.name.lower() not in _NO_PICTURES
    ]
    if not files:
        raise InputError(f"the folder {where} is empty.")
    if not found:
        raise InputError(
            f"the folder {where} holds no image: none of its {len(others)} files ({some_of(others)}) "
            f"ends in {', '.join(sorted(readable))}."
        )
    if others:
        log.warning(
            "%d files of %s are left out, as their endings are not those of images that Pillow reads here: %s",
            len(others),
            where,
            some_of(others),
        )
    return found


def decode_image(path: str | Path, image_shape: Sequence[int]) -> np.ndarray:
    """Return an image as uint8 [H, W, C] for the shape (C, H, W) with C = 1 or 3.

    The image is rotated as its EXIF data say, cropped around its middle to the wanted proportions, and resized with
    antialiasing; 16 bits become 8, and transparent parts become white. Damaged EXIF data are ignored. A JPEG is decoded
    at a half, a quarter or an eighth of its size where that is still large enough: the decoder then does the averaging,
    several times faster (the result differs only as much as with another resampling filter).

    Raises:
        InputError: If the file can't be read as an image.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise InputError(f"image files have 1 or 3 channels, but {channels} are needed.")
    try:
        with Image.open(path) as file:
            orientation = _orientation(file)
            turned = orientation >= 5
            tall, wide = (width, height) if turned else (height, width)  # as stored in the file
            scale = max(tall / file.height, wide / file.width)
            drafted = file.draft(None, (math.ceil(file.width * scale), math.ceil(file.height * scale)))
            # The decoder rounds sizes up, so the picture may end within the last row and column.
            right, bottom = drafted[1][2:] if drafted else file.size
            across, down = min(right, bottom * wide / tall), min(bottom, right * tall / wide)
            left, top = (right - across) / 2, (bottom - down) / 2
            # Crop first, because a filter looks beyond the box that it is given.
            x, y = int(left), int(top)
            image = _in_eight_bits(file).convert("RGB" if channels == 3 else "L")
            image = image.crop((x, y, math.ceil(left + across), math.ceil(top + down)))
            box = (left - x, top - y, left - x + across, top - y + down)
            image = image.resize((wide, tall), Image.Resampling.BICUBIC, box)
            if orientation in _TURNS:
                image = image.transpose(_TURNS[orientation])
    except Exception as error:  # Pillow raises whatever it comes across in a damaged file
        raise InputError(f"{path} can't be read as an image: {error}.") from error
    return np.asarray(image).reshape(height, width, channels)


def _orientation(file: Image.Image) -> int:
    """EXIF's orientation: how the camera was held; 1, upright, if it isn't known."""
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises whatever it comes across in a damaged block, or finds text for a number
        return 1


def _in_eight_bits(file: Image.Image) -> Image.Image:
    """Convert an opened image to 8 bits per channel, without transparency."""
    if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PNG"):
        return Image.fromarray((np.asarray(file).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if file.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {file.mode}) of no known range; save it with 8 or 16 bits"
        )
    if not file.has_transparency_data:
        return file
    image = file.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def upright_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image after it is rotated as its EXIF data say; errors as :func:`decode_image`."""
    try:
        with Image.open(path) as file:
            return file.size[::-1] if _orientation(file) >= 5 else file.size
    except Exception as error:
        raise InputError(f"{path} can't be read as an image: {error}.") from error


def load_image(path: str | Path, image_shape: Sequence[int]) -> Tensor:
    """Return :func:`decode_image` as a tensor [C, H, W] in [-1, 1]; arguments and errors are the same."""
    return torch.from_numpy(decode_image(path, image_shape).copy()).permute(2, 0, 1).float() / 127.5 - 1
