"""Where the time of a training step goes: ``profile.txt`` to read, ``trace.json`` to look into."""

import logging
import time
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from spnn.errors import InputError

__all__ = ["Profile"]

log = logging.getLogger(__name__)


class Profile(Callback):
    """Times some steps, and then records some by :mod:`torch.profiler`.

    ``profile.txt`` in the stage's folder, also logged, holds the seconds per step, the share of waiting for data, and
    the operators that take longest; ``trace.json`` is a trace for https://ui.perfetto.dev or ``chrome://tracing``.

    Arguments:
        skip: Steps before, which are slower than later ones.
        timed: Steps whose time is taken.
        traced: Steps that are recorded, which makes them slower.
        operators: How many are listed.

    Raises:
        InputError: If the training has fewer steps than these.
    """

    def __init__(self, skip: int = 10, timed: int = 20, traced: int = 3, operators: int = 10):
        self.skip, self.timed, self.traced, self.operators = skip, timed, traced, operators
        self.profiler: profile | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        needed = self.skip + self.timed + self.traced
        if trainer.max_steps * trainer.accumulate_grad_batches < needed:
            raise InputError(
                f"a profile needs {needed} batches, but the training ends after {trainer.max_steps} steps."
            )
        self.batches = 0
        self.size = trainer.datamodule.batch_size
        self.cuda = pl_module.device.type == "cuda"

    def on_train_batch_end(self, trainer: L.Trainer, *_) -> None:
        if not trainer.is_global_zero:
            return
        self.batches += 1
        if self.batches == self.skip:
            self.start = self._now()
        elif self.batches == self.skip + self.timed:
            self.seconds = (self._now() - self.start) / self.timed
            activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self.cuda else [])
            self.profiler = profile(activities=activities)
            self.profiler.start()
            self.start = self._now()
        elif self.batches == self.skip + self.timed + self.traced:
            traced = self._now() - self.start
            profiler, self.profiler = self.profiler, None
            profiler.stop()
            folder = Path(trainer.default_root_dir)
            profiler.export_chrome_trace(str(folder / "trace.json"))
            text = self._text(profiler, traced)
            (folder / "profile.txt").write_text(text + "\n")
            log.info("profile of %s, %s:\n%s", folder.name, folder / "trace.json", text)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.profiler is not None:  # the training was interrupted
            self.profiler.stop()
            self.profiler = None

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()  # what was started is done
        return time.perf_counter()

    def _text(self, profiler: profile, seconds: float) -> str:
        """What was recorded in so many seconds."""
        events = profiler.key_averages()
        loading = sum(event.cpu_time_total for event in events if event.key.startswith("enumerate(DataLoader)")) / 1e6
        # On a GPU, kernels and annotations of the optimiser are listed, too, beside the operators that hold them.
        operators = [event for event in events if event.device_type == DeviceType.CPU and not event.is_user_annotation]
        times = {event: event.self_device_time_total if self.cuda else event.self_cpu_time_total for event in operators}
        whole = sum(times.values())
        lines = [
            f"{self.seconds:.4g} seconds per step of {self.size} images on one {'GPU' if self.cuda else 'CPU'}",
            f"{loading / seconds:.1%} of the time waiting for data",
            "",
            "share   ms per step  calls per step  operator (without those inside of it)",
        ]
        for event in sorted(times, key=times.get, reverse=True)[: self.operators]:
            per_step = times[event] / 1000 / self.traced
            calls = event.count / self.traced
            lines.append(f"{times[event] / whole:6.1%}  {per_step:11.3f}  {calls:14.1f}  {event.key}")
        return "\n".join(lines)
