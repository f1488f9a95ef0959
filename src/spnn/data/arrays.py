"""Images and labels as arrays, and a cache of them on disk, read a batch at a time."""

import hashlib
import logging
import os
import pickle
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import Dataset

from spnn.errors import InputError

__all__ = ["ArrayDataset", "LabelledImages", "cached_arrays"]

log = logging.getLogger(__name__)


class LabelledImages(Dataset[dict[str, torch.Tensor]], ABC):
    """The images of a split, with labels, as a source gives them. Any data set with these members will do.

    An item is a dictionary: ``image`` uint8 [C, H, W], ``labels`` float [K], and ``index``, its place in the data set.
    """

    labels: np.ndarray
    """All labels, [N, K]."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of images, N."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The name of an image."""


class ArrayDataset(LabelledImages):
    """A data set that makes a batch by indexing an array once, instead of stacking items.

    Items and batches are dictionaries: ``image`` uint8 [(B,) C, H, W], ``labels`` float [(B,) K], and
    ``index`` [(B,)], their places in the data set.

    Arguments:
        images: uint8 [M, H, W, C], in memory or memory-mapped, or an object that gives such arrays for lists of places.
        labels: [N, K]: bool, or numbers.
        names: The names of the M images; by default their places.
        rows: The places of the N images among the M; by default all, in order.

    Raises:
        InputError: If there are more images than labels, or fewer.
    """

    def __init__(
        self,
        images: Any,
        labels: np.ndarray,
        names: Sequence[str] | None = None,
        rows: np.ndarray | None = None,
    ):
        if rows is None and hasattr(images, "__len__") and len(images) != len(labels):
            raise InputError(
                f"there are {len(images)} images, but labels of {len(labels)}: each needs a row of labels."
            )
        self.images, self.labels, self.names = images, labels, names
        self.rows = np.arange(len(labels)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        row = self.rows[index]
        return str(row if self.names is None else self.names[row])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        # PyTorch's loaders call this with a whole batch if a data set has it.
        images = self.images[self.rows[indices]]
        return {
            "image": torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2),
            "labels": torch.from_numpy(self.labels[indices].astype(np.float32)),
            "index": torch.as_tensor(indices),
        }


def cached_arrays(
    folder: str | Path, key: str, items: Sequence, make_row: Callable[[Any], dict[str, np.ndarray]], chunk: int = 64
) -> dict[str, np.ndarray]:
    """Return memory-mapped arrays from the cache, with a row per item; make them first, on all cores, if necessary.

    If an earlier process was interrupted while making them, this continues where it stopped. If several processes ask
    at once, one makes the arrays and the others wait.

    Arguments:
        folder: The cache.
        key: Everything that the arrays depend on, as text.
        items: The items to make rows from.
        make_row: Makes a row for each array from an item, by the arrays' names; called in other processes.
        chunk: Rows to make at a time.

    Raises:
        InputError: If the folder can't be written, has no space for the arrays, or holds damaged ones.
    """
    place = Path(folder) / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not place.exists():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(place.with_suffix(".lock")):
                if not place.exists():
                    _make(place, key, items, make_row, chunk)
        except OSError as error:
            raise InputError(
                f"the cache {folder} can't be written: {error.strerror}. Free space, or choose another folder: "
                "data.source.cache_folder or data.source.cache."
            ) from error
    try:
        return {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}
    except ValueError as error:
        raise InputError(f"the cache {place} is damaged ({error}): delete it, and it will be rebuilt.") from error


def _make(place: Path, key: str, items: Sequence, make_row: Callable, chunk: int) -> None:
    unfinished = place.with_suffix(".unfinished")
    unfinished.mkdir(exist_ok=True)
    (unfinished / "key.txt").write_text(key + "\n", encoding="utf-8")
    done_file = unfinished / "rows"  # how many are written
    done = int(done_file.read_text(encoding="utf-8") or 0) if done_file.exists() else 0
    files: dict[str, BinaryIO] = {}
    start = last = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_main_hidden(make_row))
        pool = stack.enter_context(ProcessPoolExecutor())
        # After an error, make no further rows, but wait for the pool's processes: exiting before them could hang.
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        for number, row in enumerate(_rows(pool, make_row, items[done:], chunk), done):
            if not files:
                _check_space(place.parent, (len(items) - done) * sum(array.nbytes for array in row.values()))
                for name, array in row.items():
                    opened = _open_at(unfinished / f"{name}.npy", number, len(items), array)
                    files[name] = stack.enter_context(opened)
            for name, array in row.items():
                files[name].write(array.tobytes())
            if (number + 1 - done) % chunk == 0:
                for file in files.values():
                    file.flush()
                done_file.write_text(str(number + 1), encoding="utf-8")
                now = time.monotonic()
                if now - last >= 20:
                    rate = (number + 1 - done) / (now - start)
                    log.info("preparing the cache: %d of %d, %.0f/s", number + 1, len(items), rate)
                    last = now
    done_file.unlink(missing_ok=True)
    unfinished.rename(place)


@contextmanager
def _main_hidden(make_row: Callable) -> Iterator[None]:
    """Keep processes that start here from importing the main module, unless they need it. Where processes aren't
    forked, they would run a script without ``if __name__ == "__main__"`` again, up to the lock that this process
    holds."""
    if b"__main__" in pickle.dumps(make_row):
        yield
        return
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _rows(pool: Executor, make_row: Callable, items: Sequence, chunk: int) -> Iterator[dict]:
    """Make the rows in order, in chunks, but only a few chunks ahead of the consumer: a disk may be slower than all
    cores, and rows that wait for it take up memory."""
    waiting: deque[Future] = deque()
    for first in range(0, len(items), chunk):
        waiting.append(pool.submit(_chunk, make_row, items[first : first + chunk]))
        if len(waiting) > (os.cpu_count() or 1) + 2:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _chunk(make_row: Callable, items: Sequence) -> list[dict]:
    return [make_row(item) for item in items]


def _open_at(path: Path, number: int, count: int, row: np.ndarray) -> BinaryIO:
    """Open a ``.npy`` file of ``count`` such rows for writing from row ``number`` on."""
    # Written rather than mapped, so that a full disk raises an error instead of killing the process with a signal.
    path.touch()
    file = path.open("r+b")
    header = {"descr": np.lib.format.dtype_to_descr(row.dtype), "fortran_order": False, "shape": (count, *row.shape)}
    np.lib.format.write_array_header_1_0(file, header)
    file.seek(number * row.nbytes, 1)
    return file


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the cache needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free: choose another "
            "folder, free space, or do without the cache."
        )
