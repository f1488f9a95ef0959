"""Progress of sampling, counted in images: a bar on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spnn.processes import rank

__all__ = ["SamplingProgress"]

log = logging.getLogger(__name__)


class SamplingProgress:
    """A context that shows how many images are sampled, and how many per second, in the first process.

    Arguments:
        title: The text beside the bar.
        total: Images to sample.
        seconds: Least time between two lines, where the output is not a terminal.
        watch: Called after each step with the share that is done, from 0 to 1; an exception that it raises ends the
            sampling.
    """

    def __init__(self, title: str, total: int, seconds: float = 20, watch: Callable[[float], None] | None = None):
        self.title, self.total, self.seconds, self.watch, self.done = title, total, seconds, watch, 0.0
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:.2f} images/s"))
        self.is_first, self.has_bar = rank() == 0, sys.stdout.isatty()
        self.bar = Progress(
            TextColumn(title), *columns, TimeRemainingColumn(), disable=not (self.is_first and self.has_bar)
        )
        self.task = self.bar.add_task(title, total=total, rate=0.0)

    def __enter__(self) -> "SamplingProgress":
        self.start = self.last = time.monotonic()
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def advance(self, images: float) -> None:
        """Count more images, or fractions of images: a batch counts in proportion to the steps that it has made."""
        self.done = min(self.done + images, self.total)
        now = time.monotonic()
        rate = self.done / max(now - self.start, 1e-9)
        self.bar.update(self.task, completed=int(self.done + 1e-6), rate=rate)
        if self.is_first and not self.has_bar and now - self.last >= self.seconds:
            left = (self.total - self.done) / rate
            log.info("%s: %.0f of %d images, %.2f images/s, %.0f s left", self.title, self.done, self.total, rate, left)
            self.last = now
        if self.watch is not None:
            self.watch(self.done / self.total)
