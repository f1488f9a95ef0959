"""Adapt the number of threads to the free cores while a stage trains."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from spnn.threads import FollowingThreads

__all__ = ["Threads"]


class Threads(Callback):
    """Changes the number of threads when other processes slow the steps down, see :mod:`spnn.threads`; CPUs only."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.threads = FollowingThreads() if pl_module.device.type == "cpu" else None

    def on_train_batch_start(self, *_: Any) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.threads is not None:
            self.threads.step(time.perf_counter() - self.began)
