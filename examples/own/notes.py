"""Your own tracker: it writes what is logged as lines of text to the run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from lightning.pytorch.utilities import rank_zero_only

from spnn.tracking import RunTracker, harmless


class Notes(RunTracker):
    """Ignores pictures and weights; bars become a table, as in every tracker without bar charts."""

    def __init__(self, save_dir: str):
        self.path = Path(save_dir, "notes.txt")

    def begin(self) -> TextIO:
        return self.path.open("a", encoding="utf-8")

    @rank_zero_only
    @harmless
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        print(step, dict(metrics), file=self.experiment)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            print(name, dict(zip(columns, row, strict=True)), file=self.experiment)

    def finish(self, code: int = 0) -> None:
        self.experiment.close()
