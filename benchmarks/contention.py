"""Steps per second of a training, alone and next to another busy process, with threads that follow the free cores and
with a fixed number of threads, in one run.

    python -m benchmarks.contention            # some three minutes

The other process multiplies matrices with as many threads as there are cores.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

TRAINING = """
import os, sys, time
import torch
from lightning.pytorch.callbacks import Callback
from spnn.composing import composed
from spnn.training import train

class Clock(Callback):
    def on_train_start(self, *_): self.began = None
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 40: self.began = time.perf_counter(), trainer.global_step
        if self.began and time.perf_counter() - self.began[0] > float(sys.argv[2]):
            steps = trainer.global_step - self.began[1]
            print("rate", steps / (time.perf_counter() - self.began[0]), torch.get_num_threads(), flush=True)
            os._exit(0)

sys.modules["clock"] = type(sys)("clock")
sys.modules["clock"].make = Clock
words = ["experiment=digits", "stages=[prior]", "logger=none", "callbacks.pictures=null"]
long = {"stage.prior.trainer.max_steps": 100000, "stage.prior.trainer.val_check_interval": 100000}
values = {"folder": sys.argv[1], **long}
config = composed("train", [*words, "+callbacks.clock._target_=clock.make"], values)
train(config, sys.argv[1])
"""


def busy() -> None:
    """The work of the other process."""
    x = torch.randn(1000, 1000)
    while True:
        x = torch.tanh(x @ x / 1000)


def rate(seconds: float, threads: int | None) -> float:
    """Steps per second, measured for this many seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", TRAINING, str(Path(folder, "run")), str(seconds)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
    found = [line.split() for line in done.stdout.splitlines() if line.startswith("rate")]
    if not found:
        raise SystemExit(done.stdout + done.stderr)
    return float(found[0][1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    seconds = parser.parse_args().seconds
    cores = os.cpu_count() or 1
    ways = {"following (the default)": None, f"OMP_NUM_THREADS={cores}": cores}
    alone = {name: rate(seconds, threads) for name, threads in ways.items()}
    other = multiprocessing.get_context("spawn").Process(target=busy, daemon=True)
    other.start()
    time.sleep(10)
    beside = {name: rate(seconds, threads) for name, threads in ways.items()}
    other.kill()
    table = Table("threads", "alone, steps/s", "beside a busy process", "times slower")
    for name in ways:
        table.add_row(name, f"{alone[name]:.2f}", f"{beside[name]:.2f}", f"{alone[name] / beside[name]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
