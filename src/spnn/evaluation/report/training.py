"""The curves of a run's training, from each stage's ``metrics.csv``."""

import csv
import math
from pathlib import Path

from spnn.evaluation.findings import Lines

__all__ = ["training_curves"]

_SPLITS = {"train": "training", "val": "validation"}


def training_curves(run: Path, stages: list[str]) -> dict[str, list[Lines]]:
    """Stage to its curves: every metric that was logged in training or validation, against the step."""
    curves = {}
    for stage in stages:
        path = run / stage / "metrics.csv"
        if path.is_file():
            with path.open(newline="") as file:
                curves[stage] = _curves(list(csv.DictReader(file)))
    return curves


def _curves(rows: list[dict[str, str]]) -> list[Lines]:
    by_metric: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for column in dict.fromkeys(key for row in rows for key in row if key):
        split, _, metric = column.partition("/")
        if split in _SPLITS and metric:
            points = [(float(row["step"]), float(row[column])) for row in rows if row.get(column)]
            points = [(step, value) for step, value in points if math.isfinite(value)]
            if points:
                by_metric.setdefault(metric, {})[_SPLITS[split]] = tuple(map(list, zip(*points, strict=True)))
    return [
        Lines(metric, metric.replace("_", " "), "step", series, log_y=_spread(series) > 5)
        for metric, series in by_metric.items()
    ]


def _spread(series: dict[str, tuple[list[float], list[float]]]) -> float:
    """The largest value over the least; 1 where that says nothing."""
    values = [value for _, y in series.values() for value in y]
    return max(values) / min(values) if min(values) > 0 else 1.0
