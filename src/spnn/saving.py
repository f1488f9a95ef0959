"""Files that are complete or absent, whenever a process is interrupted, and JSON that any program can read."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["replacing", "save_json", "to_json"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, and move the file from there to ``path`` in one step at the end.

    After an error inside the context, the unfinished file is removed, and an earlier one at ``path`` stays unchanged.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def to_json(value: Any, indent: int | None = None) -> str:
    """Convert a value to JSON, with null for NaN and infinity, which JSON doesn't have."""
    return json.dumps(_finite(value), indent=indent)


def save_json(value: Any, path: Path) -> None:
    """Write a value to a JSON file, in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
