"""Images and attributes as arrays in memory or memory-mapped on disk, read a batch at a time."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

__all__ = ["ArrayDataset", "Arrays", "cached_arrays"]


class Arrays(NamedTuple):
    """``images`` uint8 [N, H, W, C] and ``attributes`` bool [N, K]."""

    images: np.ndarray
    attributes: np.ndarray


class ArrayDataset(Dataset):
    """A data set whose batches are one indexing of an array, not a stack of items.

    Items and batches are dictionaries: ``image`` uint8 [(B,) C, H, W] and ``attributes`` float [(B,) K] in {0, 1}.
    """

    def __init__(self, arrays: Arrays):
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        # PyTorch's loaders call this with a whole batch where it exists.
        images = torch.from_numpy(np.ascontiguousarray(self.arrays.images[indices]))
        attributes = torch.from_numpy(self.arrays.attributes[indices].astype(np.float32))
        return {"image": images.permute(0, 3, 1, 2), "attributes": attributes}


def cached_arrays(folder: str | Path, key: str, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays cached in ``folder`` under ``key``, memory-mapped; make them first if they aren't there.

    They are written beside their place and moved there in one step, so an interrupted writing is never mistaken for a
    whole one, and of two processes that write at once one wins and both read the same.
    """
    place = Path(folder) / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=place.parent))
        try:
            arrays = make()
            for name, array in arrays._asdict().items():
                np.save(unfinished / f"{name}.npy", array)
            (unfinished / "key.txt").write_text(key + "\n")
            unfinished.chmod(0o755)  # a temporary folder is its owner's alone; a cache may be shared
            try:
                os.rename(unfinished, place)
            except OSError:
                if not place.exists():
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return Arrays(*(np.load(place / f"{name}.npy", mmap_mode="r") for name in Arrays._fields))
