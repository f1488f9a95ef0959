"""``metrics.csv``: what a stage measures, step by step."""

import csv
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger

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
            path, earlier = Path(self.log_dir) / "metrics.csv", []
            if path.exists():
                with path.open(newline="", encoding="utf-8") as file:
                    earlier = [row for row in csv.DictReader(file) if int(row["step"]) < self.steps]
                path.unlink()
            super().experiment.metrics = earlier
        return self._experiment
