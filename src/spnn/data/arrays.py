"""Images and attributes as arrays, and a cache of them on disk, read a batch at a time."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import Dataset

from spnn.errors import InputError

__all__ = ["ArrayDataset", "cached_arrays"]

log = logging.getLogger(__name__)


class ArrayDataset(Dataset):
    """A data set whose batches are one indexing of an array, not a stack of items.

    Items and batches are dictionaries: ``image`` uint8 [(B,) C, H, W], ``attributes`` float [(B,) K], the labels, and
    ``index`` [(B,)], their places in the data set.

    Arguments:
        images: uint8 [M, H, W, C], in memory or memory-mapped.
        attributes: Labels, [N, K]: bool, or numbers.
        names: Of the N images; by default their places.
        rows: Which of the M images are the N; by default all, in order.
    """

    def __init__(
        self,
        images: np.ndarray,
        attributes: np.ndarray,
        names: Callable[[int], str] = str,
        rows: np.ndarray | None = None,
    ):
        self.images, self.attributes, self.name, self.rows = images, attributes, names, rows

    def __len__(self) -> int:
        return len(self.attributes)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        # PyTorch's loaders call this with a whole batch where it exists.
        images = self.images[indices if self.rows is None else self.rows[indices]]
        return {
            "image": torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2),
            "attributes": torch.from_numpy(self.attributes[indices].astype(np.float32)),
            "index": torch.as_tensor(indices),
        }


Rows = dict[str, np.ndarray]

_make_rows: Callable[[int, int], Rows]  # in a process that makes rows


def cached_arrays(
    folder: str | Path, key: str, count: int, make_rows: Callable[[int, int], Rows], chunk: int = 64
) -> Rows:
    """Return arrays of ``count`` rows from the cache, memory-mapped; make them first, on all cores, if need be.

    Making them goes on where an earlier, interrupted process ended. Of several processes that ask at once, one makes
    them and the others wait.

    Arguments:
        folder: The cache.
        key: Everything on which the arrays depend, as text.
        count: Number of rows.
        make_rows: ``(first, last) -> {name: array of last - first rows}``; called in other processes.
        chunk: Rows to make at a time.

    Raises:
        InputError: If the folder can't be written, or has no space for the arrays, or what it holds is damaged.
    """
    place = Path(folder) / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not place.exists():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(place.with_suffix(".lock")):
                if not place.exists():
                    _make(place, key, count, make_rows, chunk)
        except OSError as error:
            raise InputError(
                f"the cache {folder} can't be written: {error.strerror}. Choose another folder, or free space."
            ) from error
    try:
        return {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}
    except ValueError as error:
        raise InputError(f"the cache {place} is damaged ({error}): delete it, and it is made anew.") from error


def _make(place: Path, key: str, count: int, make_rows: Callable[[int, int], Rows], chunk: int) -> None:
    unfinished = place.with_suffix(".unfinished")
    unfinished.mkdir(exist_ok=True)
    (unfinished / "key.txt").write_text(key + "\n")
    starts = range(0, count, chunk)
    done_file = unfinished / "done"  # a byte per chunk
    done = bytearray(done_file.read_bytes()) if done_file.exists() else bytearray()
    if len(done) != len(starts):
        done = bytearray(len(starts))
        example = make_rows(0, 1)
        _check_space(unfinished, count * sum(array.nbytes for array in example.values()))
        for name, array in example.items():
            header = np.lib.format.open_memmap(
                unfinished / f"{name}.npy", mode="w+", dtype=array.dtype, shape=(count, *array.shape[1:])
            )
            del header
        done_file.write_bytes(done)
    missing = [i for i, finished in enumerate(done) if not finished]
    # Rows are written, not mapped: a disk that is full is then an error, not a signal that kills the process.
    with done_file.open("r+b") as progress, _AllRows(unfinished) as rows:
        for i, made in _progress(missing, _in_processes(make_rows, missing, chunk, count), chunk, count):
            rows.write(i * chunk, made)
            progress.seek(i)
            progress.write(b"\1")
            progress.flush()
    done_file.unlink()
    unfinished.rename(place)


class _AllRows:
    """The ``.npy`` files of a folder, open for writing some of their rows."""

    def __init__(self, folder: Path):
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        self.offsets = {name: (array.offset, array.itemsize * array[0].size) for name, array in arrays.items()}
        self.files = {name: (folder / f"{name}.npy").open("r+b") for name in arrays}

    def __enter__(self) -> "_AllRows":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files.values():
            file.close()

    def write(self, first: int, rows: Rows) -> None:
        for name, array in rows.items():
            offset, size = self.offsets[name]
            self.files[name].seek(offset + first * size)
            self.files[name].write(np.ascontiguousarray(array).tobytes())
            self.files[name].flush()


def _in_processes(
    make_rows: Callable[[int, int], Rows], chunks: list[int], chunk: int, count: int
) -> Iterator[tuple[int, Rows]]:
    # Handed over once to each process, not with each chunk: it may hold a long list of files.
    with ProcessPoolExecutor(initializer=_keep, initargs=(make_rows,)) as pool:
        try:
            yield from zip(chunks, pool.map(partial(_make_chunk, chunk, count), chunks), strict=True)
        except BaseException:  # don't finish what nobody will keep
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep(make_rows: Callable[[int, int], Rows]) -> None:
    global _make_rows
    _make_rows = make_rows


def _make_chunk(chunk: int, count: int, i: int) -> Rows:
    return _make_rows(i * chunk, min((i + 1) * chunk, count))


def _progress(missing: list[int], made: Iterator, chunk: int, count: int, seconds: float = 20) -> Iterator:
    """Log how far it is, every so many seconds."""
    start = last = time.monotonic()
    for finished, item in enumerate(made, 1):
        yield item
        now = time.monotonic()
        if now - last >= seconds:
            rows = min(count, count - (len(missing) - finished) * chunk)
            log.info("preparing the cache: %d of %d, %.0f/s", rows, count, finished * chunk / (now - start))
            last = now


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the cache needs {needed / 1e9:.1f} GB in {folder.parent}, where {free / 1e9:.1f} GB are free: choose "
            "another folder, free space, or do without the cache."
        )
