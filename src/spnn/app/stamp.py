"""Settings inside a PNG: a text chunk of JSON that records how the picture was made."""

import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from spnn.sampling.pictures import to_bytes

__all__ = ["image_of", "read_stamp", "stamped", "text_of"]

_NAME = "spnn"


def stamped(image: Tensor, settings: Mapping[str, Any]) -> bytes:
    """Write an image [C, H, W] in [-1, 1] as PNG, with settings inside."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text(_NAME, json.dumps(settings))
    file = io.BytesIO()
    Image.fromarray(to_bytes(image)).save(file, "PNG", pnginfo=notes)
    return file.getvalue()


def read_stamp(path: str | Path) -> dict[str, Any] | None:
    """Read the settings in a PNG; None if it has none, they are damaged, or the file is no PNG."""
    try:
        with Image.open(path) as file:
            settings = json.loads(file.info[_NAME]) if file.format == "PNG" else None
    except Exception:  # Pillow raises whatever it comes across in a damaged file
        return None
    return settings if isinstance(settings, dict) else None


def text_of(image: Tensor) -> str:
    """Encode an image with 8 bits per channel, [C, H, W] in [-1, 1], as text."""
    return base64.b64encode(stamped(image, {})).decode()


def image_of(text: str, image_shape: Sequence[int]) -> Tensor:
    """Decode an image of the shape (C, H, W) from the text that :func:`text_of` gave.

    Raises:
        ValueError: If the text holds no image, or one of another size.
    """
    channels, height, width = image_shape
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as file:
            if file.size != (width, height):
                raise ValueError(f"their photo has {file.size} pixels, not {(width, height)}")
            pixels = np.array(file.convert("RGB" if channels == 3 else "L"))
    except (binascii.Error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"no image: {error}") from error
    return torch.from_numpy(pixels).reshape(height, width, channels).permute(2, 0, 1).float() / 127.5 - 1
