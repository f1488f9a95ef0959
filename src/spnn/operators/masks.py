"""Inpainting with common masks, or with a mask drawn by hand."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spnn.errors import InputError
from spnn.operators.linear import Inpainting

__all__ = ["inpainting"]

_SHAPES = ("centre", "left", "right", "top", "bottom", "random")


def inpainting(
    image_shape: Sequence[int], hidden: str | Path = "centre", share: float = 0.25, seed: int = 0
) -> Inpainting:
    """Inpainting of the pixels that a mask hides.

    Arguments:
        image_shape: (C, H, W) of the images.
        hidden: ``centre`` (a square), ``left``, ``right``, ``top``, ``bottom`` (a half or another share), ``random``
            (pixels), or the file of an image that is white where pixels are hidden; it is resized to the images' size.
        share: Share of the area that is hidden, in (0, 1); ignored for a file.
        seed: Seed for the random pixels.

    Raises:
        InputError: If the mask is unknown or its file can't be read, or if it hides nothing or everything.
    """
    _, height, width = image_shape
    if not 0 < share < 1:
        raise InputError(f"the hidden share of the image must lie between 0 and 1, got {share}.")
    mask = torch.zeros(height, width, dtype=torch.bool)
    if hidden == "centre":
        tall, wide = (max(1, round(n * math.sqrt(share))) for n in (height, width))
        top, left = (height - tall) // 2, (width - wide) // 2
        mask[top : top + tall, left : left + wide] = True
    elif hidden in ("left", "right", "top", "bottom"):
        lines = mask if hidden in ("top", "bottom") else mask.T  # a view: writing to it writes to the mask
        count = max(1, round(len(lines) * share))
        lines[slice(count) if hidden in ("top", "left") else slice(-count, None)] = True
    elif hidden == "random":
        order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
        mask.view(-1)[order[: max(1, round(height * width * share))]] = True
    elif Path(hidden).is_file():
        try:
            with Image.open(hidden) as file:
                drawn = file.convert("L").resize((width, height), Image.Resampling.BOX)
        except OSError as error:
            raise InputError(f"the mask {hidden} can't be read as an image: {error}.") from error
        mask = torch.from_numpy(np.asarray(drawn) > 127)
    else:
        raise InputError(f"`hidden` is one of {', '.join(_SHAPES)}, or the file of a mask; got {hidden!r}.")
    if mask.all() or not mask.any():
        raise InputError(f"the mask {hidden} hides {'everything' if mask.all() else 'nothing'}: white is hidden.")
    return Inpainting(~mask, image_shape)
