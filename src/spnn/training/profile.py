"""Where the time of a training step goes: ``profile.txt`` to read, ``trace.json`` for a viewer."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch.profiler import profile, schedule

__all__ = ["Profile"]


class Profile(Callback):
    """Records some steps with :mod:`torch.profiler`. In the stage's folder, ``profile.txt`` lists what takes longest,
    operators and the loading of data; ``trace.json`` is for https://ui.perfetto.dev. (Lightning's own profiler fails if
    a test has fewer steps than its schedule.)

    Arguments:
        skip: Number of steps to skip first; they are slower than later ones.
        recorded: Number of steps to record.
        rows: Number of lines in the list.
    """

    def __init__(self, skip: int = 30, recorded: int = 3, rows: int = 30):
        self.schedule, self.rows = schedule(wait=0, warmup=skip, active=recorded, repeat=1), rows

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.folder = Path(trainer.default_root_dir)
        self.by = "self_cuda_time_total" if pl_module.device.type == "cuda" else "self_cpu_time_total"
        self.profiler = profile(schedule=self.schedule, on_trace_ready=self._write)
        self.profiler.start()

    def on_train_batch_end(self, *_) -> None:
        self.profiler.step()

    def on_train_end(self, *_) -> None:
        self.profiler.stop()

    def on_exception(self, *_) -> None:
        self.profiler.stop()

    def _write(self, recorded: profile) -> None:
        table = recorded.key_averages().table(sort_by=self.by, row_limit=self.rows, max_name_column_width=70)
        (self.folder / "profile.txt").write_text(table, encoding="utf-8")
        recorded.export_chrome_trace(str(self.folder / "trace.json"))
