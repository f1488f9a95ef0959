"""The table at the end of a sweep: each job's metrics and the options that vary, as CSV and Markdown."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Row", "known", "write"]

Row = dict[str, Any]
"""A job's row: ``overrides`` (a list), ``metrics`` (by name), ``error`` (None if it has finished) and ``folder``; in
the table also ``name``, the overrides that not all jobs have."""


def write(rows: Sequence[Row], path: Path, best: str | None) -> list[Row]:
    """Write the rows to ``path.csv`` and ``path.md``, and return them sorted by the metric ``best``: the largest first,
    or the smallest first if the name has a minus. None keeps their order."""
    common = set.intersection(*(set(row["overrides"]) for row in rows)) if len(rows) > 1 else set()
    varying = [[word for word in row["overrides"] if word not in common] for row in rows]  # common ones tell nothing
    rows = [row | {"name": " ".join(words)} for row, words in zip(rows, varying, strict=True)]
    if best is not None:
        rows.sort(key=lambda row: _place(row["metrics"].get(best.removeprefix("-")), best[0] == "-"))
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    options = list(dict.fromkeys(_option(word)[0] for words in varying for word in words))
    options = [option for option in options if option not in metrics]
    lines = [["job", *options, *metrics, "error", "folder"]]
    for row in rows:
        said = dict(map(_option, row["overrides"]))
        values = [*(said.get(option) for option in options), *(row["metrics"].get(metric) for metric in metrics)]
        lines.append([row["name"], *values, row["error"], row["folder"]])
    with path.with_name(f"{path.name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    head, *body = [[_cell(value) for value in line[1:-1]] for line in lines]
    text = [head, ["---"] * len(head), *body]
    path.with_name(f"{path.name}.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in text), "utf-8")
    return rows


def known(metrics: Iterable[str]) -> str:
    """Names of metrics for a message, without those of parts, such as ``task/accuracy/<label>``."""
    return ", ".join(name for name in metrics if name.count("/") < 2)


def _place(value: float | None, least: bool) -> float:
    if not isinstance(value, int | float):
        return math.inf
    return value if least else -value


def _option(word: str) -> tuple[str, str]:
    """An override's name and value."""
    name, _, value = word.lstrip("+~").partition("=")
    return name, value


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())
