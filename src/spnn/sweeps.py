"""Show the table of all jobs on the screen at the end of a multirun."""

from collections.abc import Mapping, Sequence
from typing import Any

from spnn.terminal import print_rows

__all__ = ["format_metric", "show"]


def show(jobs: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print the table; the plugin ``resuming_sweeps`` calls this.

    Arguments:
        jobs: The jobs, each with its ``name``, ``metrics`` and ``error``.
        columns: The metrics to show: name to title. If a title ends in ``%``, a share of one is shown in per cent.
    """
    names = {name for job in jobs for name in job["metrics"]}
    shown = {name: title for name, title in columns.items() if name in names}
    rows = []
    for job in jobs:
        cells = [format_metric(job["metrics"].get(name), title) for name, title in shown.items()]
        rows.append([job["name"] + " (failed)" * bool(job["error"]), *cells])
    print_rows(["job", *shown.values()], rows)


def format_metric(value: float | None, title: str) -> str:
    """A metric as text in a table's cell: in per cent if the column's title ends in ``%``; empty for None."""
    if value is None:
        return ""
    if title.endswith("%"):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
