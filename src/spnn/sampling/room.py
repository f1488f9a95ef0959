"""Room for more images than memory holds."""

import math
import os
import tempfile

import numpy as np
import torch
from torch import Tensor

__all__ = ["room"]

_LARGE = 2**30  # bytes


def room(*shape: int) -> Tensor:
    """Return an empty float32 tensor. A large one is mapped to an unnamed file in the folder for temporary files, if
    there is space, so that memory holds only as much of it as fits."""
    size = 4 * math.prod(shape)
    if size < _LARGE or not hasattr(os, "posix_fallocate"):
        return torch.empty(shape)
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # otherwise the process would be killed if the disk fills up
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    except OSError:
        return torch.empty(shape)
