"""``metrics.csv``: what a stage measures, step by step."""

import csv
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from spnn.saving import replacing

__all__ = ["MetricsLog"]


class MetricsLog(CSVLogger):
    """Lightning's CSV logger, but a file that is there is continued, not deleted.

    Arguments:
        save_dir: The stage's folder.
        steps: How many steps were made before; later rows are of a training that was interrupted, and are made anew.
    """

    def __init__(self, save_dir: str | Path, steps: int = 0):
        super().__init__(save_dir, name="", version="")
        self.steps = steps

    @property
    @rank_zero_experiment
    def experiment(self):
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir, self.steps)
        return self._experiment


class _Writer(ExperimentWriter):
    """Lightning's writer, but the rows that are there are never without a file, whenever the process is killed."""

    def __init__(self, folder: str, steps: int):
        super().__init__(folder)
        self.path = Path(self.metrics_file_path)
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader([line for line in file if line.endswith("\n")])  # a kill can cut the last one
        rows = [row for row in table if (row.get("step") or "").isdecimal() and int(row["step"]) < steps]
        if rows:
            self.metrics_keys = list(table.fieldnames or ())
            self._write(self.metrics_keys, rows)
        else:
            self.path.unlink()

    def _check_log_dir_exists(self) -> None:
        """Lightning's deletes the file."""

    def _rewrite_with_new_header(self, fieldnames: Sequence[str]) -> None:
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._write(fieldnames, rows)

    def _write(self, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
        with replacing(self.path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
