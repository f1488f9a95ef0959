"""TensorBoard, through Lightning's logger; tables become text, which has only the file names of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from spnn.tracking.tracker import Tracker, check_installed

__all__ = ["TensorBoardLog"]


class TensorBoardLog(TensorBoardLogger, Tracker):
    """Writes events to ``<save_dir>/<name>/<version>``; further options are those of Lightning's logger.

    Raises:
        InputError: If TensorBoard isn't installed.
    """

    def __init__(self, save_dir: str | Path, name: str = "", version: str = "tensorboard", **options: Any):
        check_installed("tensorboard", "tensorboard")
        super().__init__(save_dir, name=name, version=version, **options)

    def log_picture(self, name: str, path: Path, step: int | None = None) -> None:
        self.experiment.add_image(name, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        lines = [columns, ["---"] * len(columns), *([_text(cell) for cell in row] for row in rows)]
        self.experiment.add_text(name, "\n".join(f"| {' | '.join(line)} |" for line in lines))

    def finish(self, code: int = 0) -> None:
        if self._experiment is not None:
            self._experiment.close()


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    text = f"{cell:.4g}" if isinstance(cell, float) else cell.name if isinstance(cell, Path) else str(cell)
    return text.replace("|", "\\|").replace("\n", " ")
