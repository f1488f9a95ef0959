"""Progress of sampling in images: a bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["SamplingProgress"]

log = logging.getLogger(__name__)


class SamplingProgress(Callback):
    """Show how many images are sampled, and how many per second. A batch's images count by the steps they have made.

    With several devices, the first one's pace is taken for all.

    Arguments:
        title: Beside the bar.
        total: Images to sample.
        seconds: Least time between two lines, where the output is not a terminal.
    """

    def __init__(self, title: str, total: int, seconds: float = 20):
        self.title, self.total, self.seconds = title, total, seconds
        self.bar: Progress | None = None

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.done, self.devices = 0.0, trainer.world_size
        self.start = self.last = time.monotonic()
        pl_module.on_progress = self.advance
        if sys.stdout.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:.2f} images/s"))
            self.bar = Progress(TextColumn(self.title), *columns, TimeRemainingColumn())
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=self.total, rate=0.0)

    def advance(self, images: float) -> None:
        """Count some images more, or parts of images."""
        self.done = min(self.done + images * self.devices, self.total)
        now = time.monotonic()
        rate = self.done / max(now - self.start, 1e-9)
        if self.bar is not None:
            self.bar.update(self.task, completed=int(self.done + 1e-6), rate=rate)
        elif now - self.last >= self.seconds:
            left = (self.total - self.done) / rate
            log.info("%s: %.0f of %d images, %.2f images/s, %.0f s left", self.title, self.done, self.total, rate, left)
            self.last = now

    def stop(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.stop()

    on_predict_end = on_exception = stop
