"""Run checks in a separate process, so that a check that crashes, hangs or corrupts the card doesn't affect others."""

import gc
import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection

import torch

from benchmarks.gpu.check import Check, Setting

__all__ = ["Worker"]

START = 60.0  # seconds to import the libraries


def work(connection: Connection, setting: Setting) -> None:
    """Run the checks that are received, and send their rows: ``(name, figures)``, and at the end ``(None, error)``."""
    multiprocessing.set_start_method(None, force=True)  # readers start processes as in a command, not the way we do
    connection.send("ready")
    while True:
        check: Check = connection.recv()
        try:
            for row in check.rows(setting):
                connection.send(row)
            connection.send((None, None))
        except Exception as error:
            connection.send((None, f"{type(error).__name__}: {error}"))
        gc.collect()
        torch.cuda.empty_cache()  # does nothing if there is no card


class Worker(AbstractContextManager):
    """Runs checks one after the other in a separate process. After an error, it starts a new one for the next check."""

    def __init__(self, setting: Setting):
        self.setting, self.process = setting, None

    def start(self) -> None:
        # CUDA doesn't work in a process forked from one that has looked for a card, and diffusers looks when imported.
        # Without a card, a fork server imports the libraries once for all processes.
        context = multiprocessing.get_context("spawn" if self.setting.device == "cuda" else "forkserver")
        context.set_forkserver_preload(["benchmarks.gpu.checks"])  # no effect on spawned ones
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, self.setting))
        self.process.start()
        other.close()
        if not self.connection.poll(START) or self.connection.recv() != "ready":
            raise TimeoutError(f"the process has not started within {START:.0f} s.")

    def run(
        self, check: Check, deadline: float, say: Callable[[str, dict], None]
    ) -> tuple[dict[str, dict], str | None]:
        """The rows that a check returned, and what went wrong, or None; ``say`` is called with each row when it comes.
        The deadline, by the monotonic clock, may stop the check before its own time limit."""
        rows, error = {}, "its time was over."
        try:
            if self.process is None:
                self.start()
            self.connection.send(check)
            end = min(time.monotonic() + check.seconds, deadline)
            while self.connection.poll(max(0.0, end - time.monotonic())):
                name, figures = self.connection.recv()
                if name is None:
                    error = figures
                    break
                rows[name] = figures
                say(name, figures)
        except (EOFError, OSError) as broken:
            self.process.join(5)
            error = f"the process ended, with exit code {self.process.exitcode} ({type(broken).__name__})."
        if error is not None:
            self.stop()
        return rows, error

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None
