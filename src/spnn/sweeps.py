"""A table of all jobs at the end of a multirun: what was asked of each, and what came of it."""

import csv
import json
import logging
import math
import time
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from spnn.saving import save_json
from spnn.terminal import print_rows

__all__ = ["Comparison", "Failed", "format_metric"]

log = logging.getLogger(__name__)


class Failed(dict):
    """What a multirun's job returns that could not be done: no metrics, and the reason."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = str(error)


class Comparison(Callback):
    """Hydra's callback. Each job leaves ``job.json`` in its folder, wherever it is run; at the end of the multirun they
    become a table on the screen, and a CSV file in the sweep's folder, with all metrics.

    Arguments:
        columns: The metrics to show: name to title; a title that ends in ``%`` shows a share of one in per cent.
        best: The metric by which jobs are sorted, ``-name`` if less of it is better; None keeps their order.
        table: The CSV file's name.
    """

    earlier: ClassVar[set[Path]] = set()
    """Folders of jobs that belong to this multirun, too, but were finished by an earlier command."""

    def __init__(self, columns: dict[str, str], best: str | None = None, table: str = "comparison.csv"):
        self.columns, self.best, self.table = columns, best, table

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.started = time.time()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode is None or config.hydra.mode.name != "MULTIRUN":
            return
        finished = job_return.status == JobStatus.COMPLETED
        result = job_return.return_value if finished else Failed(job_return._return_value)
        folder = Path(config.hydra.runtime.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        job = {
            "folder": str(folder),
            "overrides": list(job_return.overrides or []),
            "error": getattr(result, "error", None),
            "metrics": result or {},
        }
        save_json(job, folder / "job.json")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        sweep = Path(config.hydra.sweep.dir)
        # A folder may hold the jobs of other sweeps, too.
        files = [
            path
            for path in sweep.glob("**/job.json")
            if path.stat().st_mtime >= self.started - 1 or path.parent.resolve() in self.earlier
        ]
        jobs = [json.loads(path.read_text(encoding="utf-8")) for path in files]
        if not jobs:
            return
        common = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
        for job in jobs:  # options of all of them say nothing
            job["name"] = " ".join(override for override in job["overrides"] if override not in common)
        jobs.sort(key=self._place)
        names = list(dict.fromkeys(name for job in jobs for name in job["metrics"]))
        with (sweep / self.table).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["job", *names, "error", "folder"])
            for job in jobs:
                values = (job["metrics"].get(name, "") for name in names)
                writer.writerow([job["name"], *values, job["error"] or "", job["folder"]])
        self._print(jobs, names)
        log.info("comparison of %d jobs: %s", len(jobs), sweep / self.table)
        if failed := [job for job in jobs if job["error"]]:
            log.error("%d of %d jobs failed; the same command tries them again", len(failed), len(jobs))
            raise SystemExit(1)

    def _place(self, job: dict) -> tuple:
        """Where a job stands in the table: the best first, then in their order."""
        order = (len(job["folder"]), job["folder"])
        if self.best is None:
            return order
        value = job["metrics"].get(self.best.removeprefix("-"))
        if value is None:
            return (math.inf, *order)
        return (value if self.best.startswith("-") else -value, *order)

    def _print(self, jobs: list[dict], names: list[str]) -> None:
        shown = {name: title for name, title in self.columns.items() if name in names}
        rows = []
        for job in jobs:
            cells = [format_metric(job["metrics"].get(name), title) for name, title in shown.items()]
            rows.append([job["name"] + " (failed)" * bool(job["error"]), *cells])
        print_rows(["job", *shown.values()], rows)


def format_metric(value: float | None, title: str) -> str:
    """A metric in a table's cell: in per cent where the column's title ends so; empty for None."""
    if value is None:
        return ""
    if title.endswith("%"):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
