"""Progress: a bar on a terminal, plain lines elsewhere (a log file, a cluster's output)."""

import logging
import sys
import time

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar

__all__ = ["ProgressLines", "progress"]

log = logging.getLogger(__name__)


def progress(seconds: float = 20) -> Callback:
    """Return a progress bar if the output is a terminal, or :class:`ProgressLines` if it isn't."""
    return RichProgressBar() if sys.stdout.isatty() else ProgressLines(seconds)


class ProgressLines(Callback):
    """Log the step, the rate and the metrics that a progress bar would show.

    Arguments:
        seconds: The shortest time between two lines.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.last, self.last_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, *_) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self.last >= self.seconds:
            rate = (trainer.global_step - self.last_step) / (now - self.last)
            shown = "  ".join(f"{name} {value:.4g}" for name, value in trainer.progress_bar_metrics.items())
            log.info("step %d of %d, %.2f steps/s  %s", trainer.global_step, trainer.max_steps, rate, shown)
            self.last, self.last_step = now, trainer.global_step
