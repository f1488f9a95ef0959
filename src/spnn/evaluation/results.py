"""The files that a study writes to its folder: ``metrics.json``, ``findings.json``, tables and figures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger

from spnn.evaluation.figures import save_figure
from spnn.evaluation.findings import Bars, Findings, Pictures, Table, Vectors
from spnn.evaluation.tables import save_table, split_pairs
from spnn.saving import save_json
from spnn.tracking import log_bars, log_picture, log_table

__all__ = ["save_findings", "track"]


def save_findings(findings: Findings, folder: Path) -> None:
    """Write all files of a study. ``findings.json`` has everything that the report shows, except the images, which are
    in the PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for part in findings.parts:
        if isinstance(part, Table):
            save_table(part, folder)
        else:
            save_figure(part, folder)
        data = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        if isinstance(part, Pictures):
            data["rows"] = list(part.rows)
        if isinstance(part, Vectors):
            data = {"name": part.name, "title": part.title}
        parts.append({"kind": type(part).__name__, **data})
    whole = {"title": findings.title, "compared": findings.compared, "verdicts": findings.verdicts, "parts": parts}
    for name, value in (("metrics", findings.entries), ("findings", whole)):
        save_json(value, folder / f"{name}.json")


def track(loggers: Sequence[Logger], findings: Findings, folder: Path) -> None:
    """Send a study's findings to the loggers: numbers, figures, tables, and bars for each label."""
    for entry in findings.entries:
        texts = [str(value) for value in entry.values() if isinstance(value, str)]
        numbers = {key: float(value) for key, value in entry.items() if isinstance(value, int | float)}
        for logger in loggers:
            logger.log_metrics({"/".join([*texts, key]): value for key, value in numbers.items()})
    for part in findings.parts:
        if isinstance(part, Table):
            log_table(loggers, part.name, split_pairs(part.rows))
            continue
        log_picture(loggers, part.name, folder / f"{part.name}.png")
        if isinstance(part, Bars):
            for name, values in part.series.items():
                log_bars(loggers, f"{part.name} {name}", dict(zip(part.labels, values, strict=True)))
