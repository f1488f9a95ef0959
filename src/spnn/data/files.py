"""Image files as tensors."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from spnn.errors import InputError

__all__ = ["find_images", "load_image"]

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


def load_image(path: str | Path, image_shape: Sequence[int]) -> Tensor:
    """Return an image as a tensor of that shape, (C, H, W) with C = 1 or 3, in [-1, 1].

    It is turned as its camera says, cropped around its middle to the wanted proportions, and resized with antialiasing.

    Raises:
        InputError: If the file can't be read as an image.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise InputError(f"image files have 1 or 3 channels, but {channels} are needed.")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB" if channels == 3 else "L")
    except (OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} can't be read as an image: {error}.") from error
    wide = min(image.width, round(image.height * width / height))
    tall = min(image.height, round(image.width * height / width))
    left, top = (image.width - wide) // 2, (image.height - tall) // 2
    middle = image.crop((left, top, left + wide, top + tall))
    pixels = np.asarray(middle.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.reshape(height, width, channels).copy()).permute(2, 0, 1).float() / 127.5 - 1
