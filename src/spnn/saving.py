"""Files that are there whole or not at all, whenever a process is interrupted; JSON that any program reads."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["replacing", "save_json", "to_json"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write to, and move what was written there to ``path`` in one step at the end.

    After an error inside, the unfinished file is removed and an earlier one at ``path`` is as it was.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON, with null for the numbers that JSON doesn't know, NaN and infinity."""
    return json.dumps(_finite(value), indent=indent)


def save_json(value: Any, path: Path) -> None:
    """Write a value as a file of JSON, in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
