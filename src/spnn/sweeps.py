"""A table of all jobs at the end of a multirun: what each was told, and what came of it."""

import csv
import json
import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["Comparison"]

log = logging.getLogger(__name__)


class Comparison(Callback):
    """Hydra's callback. Each job leaves ``job.json`` in its folder, wherever it is run; at the end of the multirun they
    become a table on the screen, and ``comparison.csv`` in the sweep's folder, with all metrics.

    Arguments:
        columns: The metrics to show: name to title; a title that ends in ``%`` shows a share of one in per cent.
    """

    def __init__(self, columns: dict[str, str]):
        self.columns = columns

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode is None or config.hydra.mode.name != "MULTIRUN":
            return
        finished = job_return.status == JobStatus.COMPLETED
        folder = Path(config.hydra.runtime.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        job = {
            "folder": str(folder),
            "overrides": list(job_return.overrides or []),
            "error": None if finished else str(job_return._return_value),
            "metrics": job_return.return_value if finished else {},
        }
        (folder / "job.json").write_text(json.dumps(job, indent=2) + "\n")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        sweep = Path(config.hydra.sweep.dir)
        jobs = [json.loads(path.read_text()) for path in sweep.glob("**/job.json")]
        if not jobs:
            return
        jobs.sort(key=lambda job: (len(job["folder"]), job["folder"]))
        common = set.intersection(*(set(job["overrides"]) for job in jobs))
        for job in jobs:  # what all were told says nothing
            job["name"] = " ".join(override for override in job["overrides"] if override not in common)
        names = list(dict.fromkeys(name for job in jobs for name in job["metrics"]))
        with (sweep / "comparison.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["job", *names, "error", "folder"])
            for job in jobs:
                values = (job["metrics"].get(name, "") for name in names)
                writer.writerow([job["name"], *values, job["error"] or "", job["folder"]])
        self._print(jobs, names)
        log.info("comparison of %d jobs: %s", len(jobs), sweep / "comparison.csv")

    def _print(self, jobs: list[dict], names: list[str]) -> None:
        shown = {name: title for name, title in self.columns.items() if name in names}
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("job", overflow="fold")
        for title in shown.values():
            table.add_column(title, justify="right", no_wrap=True)
        for job in jobs:
            cells = [format_metric(job["metrics"].get(name), title) for name, title in shown.items()]
            table.add_row(job["name"] + (f"\nfailed: {job['error']}" if job["error"] else ""), *cells)
        Console(width=None if sys.stdout.isatty() else 160).print(table)


def format_metric(value: float | None, title: str) -> str:
    """A metric in a table's cell: in per cent where the column's title ends so; empty for None."""
    if value is None:
        return ""
    if title.endswith("%"):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
