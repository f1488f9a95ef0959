"""Uploaded photos, as images for the models; their size is checked before they are decoded."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from torch import Tensor

from spnn.data.files import load_image, upright_size
from spnn.errors import InputError

__all__ = ["LARGEST_FILE", "check_photo", "read_photo"]

LARGEST_FILE = 20_000_000
"""The most bytes that a photo's file may have."""
_MOST_PIXELS = 50_000_000


def check_photo(path: str | Path) -> None:
    """Check a photo without decoding it.

    Raises:
        InputError: If the file is larger than 20 MB, has more than 50 megapixels, or is no image.
    """
    path = Path(path)
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise InputError(f"{path.name} has {size / 1e6:.0f} MB; a photo may have {LARGEST_FILE / 1e6:.0f} MB.")
    with _named(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the next lines say it better
            width, height = upright_size(path)
        if width * height > _MOST_PIXELS:
            raise InputError(
                f"{path.name} has {width * height / 1e6:.0f} megapixels; a photo may have {_MOST_PIXELS / 1e6:.0f}."
            )


def read_photo(path: str | Path, image_shape: Sequence[int]) -> Tensor:
    """Read a photo, cropped and resized as ``images=`` of ``spnn sample`` does, [C, H, W] in [-1, 1]; errors as
    :func:`check_photo`."""
    check_photo(path)
    with _named(Path(path)):
        return load_image(path, image_shape)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Leave the folder out of messages, because the person who uploaded the photo doesn't know it."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from None
