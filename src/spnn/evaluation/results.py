"""What a study leaves in its folder: ``metrics.json``, ``findings.json``, tables and figures."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger
from PIL import Image

from spnn.evaluation.figures import save_figure
from spnn.evaluation.findings import Bars, Findings, Pictures, Table, Vectors
from spnn.evaluation.tables import save_table
from spnn.sampling.pictures import to_bytes
from spnn.tracking import log_bars, log_picture, log_table

__all__ = ["save_findings", "track"]


def save_findings(findings: Findings, folder: Path) -> None:
    """Write all files of a study. ``findings.json`` has all that the report shows, but for the pictures' pixels: these
    are in ``<name>.tiles.png``, one next to the other without a gap.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for part in findings.parts:
        if isinstance(part, Table):
            save_table(part, folder)
        else:
            save_figure(part, folder)
        parts.append({"kind": type(part).__name__, **_as_data(part, folder)})
    whole = {
        "title": findings.title,
        "compared": findings.compared,
        "verdicts": findings.verdicts,
        "parts": parts,
    }
    _save_json(findings.entries, folder / "metrics.json")
    _save_json(whole, folder / "findings.json")


def track(loggers: Sequence[Logger], findings: Findings, folder: Path) -> None:
    """Show loggers what a study found: its numbers, figures, tables, and bars by attribute."""
    for entry in findings.entries:
        texts = [str(value) for value in entry.values() if isinstance(value, str)]
        numbers = {key: float(value) for key, value in entry.items() if isinstance(value, int | float)}
        for logger in loggers:
            logger.log_metrics({"/".join([*texts, key]): value for key, value in numbers.items()})
    for part in findings.parts:
        if isinstance(part, Table):
            rows = [{key: _text(value) for key, value in row.items()} for row in part.rows]
            log_table(loggers, part.name, rows)
            continue
        log_picture(loggers, part.name, folder / f"{part.name}.png")
        if isinstance(part, Bars):
            for name, values in part.series.items():
                log_bars(loggers, f"{part.name} {name}", dict(zip(part.labels, values, strict=True)))


def _text(value: Any) -> Any:
    """Pairs, such as intervals, as text: a table's column holds one type."""
    return " to ".join(f"{number:.4g}" for number in value) if isinstance(value, list | tuple) else value


def _as_data(part: Any, folder: Path) -> dict:
    data = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    if isinstance(part, Vectors):
        return {"name": part.name, "title": part.title}
    if isinstance(part, Pictures):
        rows = [np.concatenate([to_bytes(image) for image in images], axis=1) for images in part.rows.values()]
        Image.fromarray(np.concatenate(rows)).save(folder / f"{part.name}.tiles.png")
        return data | {"rows": list(part.rows)}
    return data


def _save_json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(_finite(value), indent=2) + "\n")


def _finite(value: Any) -> Any:
    """Numbers that JSON doesn't know, where there was nothing to count, as null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
