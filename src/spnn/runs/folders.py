"""Folders of results: which may be written to, and how earlier results are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from spnn.errors import InputError

__all__ = ["alone_in", "check_results_folder", "fresh_folder"]


def check_results_folder(folder: str | Path, marker: str) -> Path:
    """Return the folder if results can go there: it is new or empty, or the file ``marker`` shows earlier results.

    Raises:
        InputError: If it holds anything else.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / marker).exists():
        raise InputError(f"{folder} is not empty and holds no earlier results: choose another `folder`.")
    return folder


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from writing results to a folder.

    Raises:
        InputError: If another process is writing there.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=2)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"another process is writing its results to {folder}: wait for it, or choose another `folder`."
        ) from None
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def fresh_folder(folder: Path) -> None:
    """Make an empty folder; an existing one is kept, with the time of its last change added to its name."""
    folder = folder.resolve()  # "." has no name to change
    if folder.exists() and any(folder.iterdir()):
        stamp = datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y-%m-%d_%H-%M-%S")
        kept = folder.with_name(f"{folder.name}.{stamp}")
        for again in count(2):
            if not kept.exists():
                break
            kept = folder.with_name(f"{folder.name}.{stamp}.{again}")
        folder.rename(kept)
    folder.mkdir(parents=True, exist_ok=True)
