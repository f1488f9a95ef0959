"""``metrics.csv``: a stage's metrics, step by step."""

import csv
from collections.abc import Sequence
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from spnn.saving import replacing

__all__ = ["MetricsLog"]


class MetricsLog(CSVLogger):
    """Lightning's CSV logger, except that it continues an existing file instead of deleting it.

    Arguments:
        save_dir: The stage's folder.
        steps: The number of steps made before. Rows from later steps, left by an interrupted training, are dropped:
            these steps are made again.
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
    """Lightning's writer, except that earlier rows are always in a file, whenever the process is killed."""

    def __init__(self, folder: str, steps: int):
        super().__init__(folder)
        self.path = Path(self.metrics_file_path)
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader([line for line in file if line.endswith("\n")])  # a kill can cut off the last line
        rows = [row for row in table if (row.get("step") or "").isdecimal() and int(row["step"]) < steps]
        if rows:
            self.metrics_keys = list(table.fieldnames or ())
            self._write(self.metrics_keys, rows)
        else:
            self.path.unlink()

    def _check_log_dir_exists(self) -> None:
        """Do nothing, as Lightning's version deletes the file."""

    def _rewrite_with_new_header(self, fieldnames: Sequence[str]) -> None:
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._write(fieldnames, rows)

    def _write(self, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
        with replacing(self.path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
