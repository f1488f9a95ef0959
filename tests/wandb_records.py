"""Read what W&B wrote offline: a file of records, each in one or several chunks, in blocks of 32 KiB."""

import json
import struct
import time
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _FILE_HEADER, _CHUNK_HEADER = 32768, 7, 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path, seconds: float = 60) -> list[Record]:
    """All records of a ``run-<id>.wandb`` file. W&B's service writes it in a process of its own, and may still be
    at it when the run has ended here: the last record says how the run ended, and is waited for."""
    end = time.monotonic() + seconds
    while True:
        found = _written(path)
        if any(record.WhichOneof("record_type") == "exit" for record in found) or time.monotonic() > end:
            return found
        time.sleep(0.1)


def _written(path: Path) -> list[Record]:
    content, place, parts, found = path.read_bytes(), _FILE_HEADER, b"", []
    while place + _CHUNK_HEADER <= len(content):
        if _BLOCK - place % _BLOCK < _CHUNK_HEADER:  # a block's rest is padding
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + _CHUNK_HEADER])
        chunk = content[place + _CHUNK_HEADER : place + _CHUNK_HEADER + length]
        place += _CHUNK_HEADER + length
        parts = chunk if kind in (_WHOLE, _FIRST) else parts + chunk
        if kind in (_WHOLE, _LAST):
            found.append(Record.FromString(parts))
    return found


def history(path: Path) -> list[dict[str, Any]]:
    """The rows that were logged: name to value."""
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]
