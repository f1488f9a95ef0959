"""Image files as pixels."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from spnn.errors import InputError

__all__ = ["decode_image", "find_images", "load_image"]

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def find_images(where: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return image files: a file, all of a folder in the order of their names, or those of a list of both.

    Raises:
        InputError: If something isn't there, or a folder has no image.
    """
    if not isinstance(where, str | Path):
        return [path for part in where for path in find_images(part)]
    where = Path(where).expanduser()
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise InputError(f"there is no image or folder {where} (looked from {Path.cwd()}).")
    found = sorted(path for path in where.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise InputError(
            f"the folder {where} holds no image: none of its files ends in {', '.join(sorted(_SUFFIXES))}."
        )
    return found


def decode_image(path: str | Path, image_shape: Sequence[int]) -> np.ndarray:
    """Return an image as uint8 [H, W, C] for the shape (C, H, W) with C = 1 or 3.

    It is turned as its camera says, cropped around its middle to the wanted proportions, and resized with antialiasing.
    A JPEG is decoded at a half, a quarter or an eighth of its size where that is still enough: the decoder then does
    the averaging, several times faster (the difference is that of another resampling filter).

    Raises:
        InputError: If the file can't be read as an image.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise InputError(f"image files have 1 or 3 channels, but {channels} are needed.")
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            tall, wide = (width, height) if turned else (height, width)  # as it lies in the file
            scale = max(tall / file.height, wide / file.width)
            drafted = file.draft(None, (math.ceil(file.width * scale), math.ceil(file.height * scale)))
            # The decoder rounds sizes up; what the file holds may end within the last row and column.
            right, bottom = drafted[1][2:] if drafted else file.size
            across, down = min(right, bottom * wide / tall), min(bottom, right * tall / wide)
            left, top = (right - across) / 2, (bottom - down) / 2
            # Cropped first, as a filter looks beyond the box that it is given.
            x, y = int(left), int(top)
            image = file.convert("RGB" if channels == 3 else "L")
            image = image.crop((x, y, math.ceil(left + across), math.ceil(top + down)))
            box = (left - x, top - y, left - x + across, top - y + down)
            image = ImageOps.exif_transpose(image.resize((wide, tall), Image.Resampling.BICUBIC, box))
    except Exception as error:  # Pillow raises whatever it comes across in a damaged file
        raise InputError(f"{path} can't be read as an image: {error}.") from error
    return np.asarray(image).reshape(height, width, channels)


def load_image(path: str | Path, image_shape: Sequence[int]) -> Tensor:
    """Return :func:`decode_image` as a tensor [C, H, W] in [-1, 1]; arguments and errors are the same."""
    return torch.from_numpy(decode_image(path, image_shape).copy()).permute(2, 0, 1).float() / 127.5 - 1
