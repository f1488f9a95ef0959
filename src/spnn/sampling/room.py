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
    """An empty tensor of float32. A large one lies in a file without a name in the folder for temporary files, if there
    is space, so that memory holds no more of it than there is room for."""
    size = 4 * math.prod(shape)
    if size < _LARGE or not hasattr(os, "posix_fallocate"):
        return torch.empty(shape)
    try:
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # else a disk that becomes full would kill the process
            return torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    except OSError:
        return torch.empty(shape)
