"""A process in which checks run: one that ends, hangs or spoils the card takes no other check with it."""

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
    """Run the checks that come, and answer with their rows: ``(name, figures)``, at the end ``(None, error)``."""
    multiprocessing.set_start_method(None, force=True)  # readers start processes as they do in a command, not as we do
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
        torch.cuda.empty_cache()  # does nothing where there is no card


class Worker(AbstractContextManager):
    """Runs checks in a process of their own, one after the other. After an error it starts another for the next."""

    def __init__(self, setting: Setting):
        self.setting, self.process = setting, None

    def start(self) -> None:
        # CUDA doesn't work in what is forked from a process that has looked for a card, and diffusers looks when it is
        # imported. Without a card, a server imports the libraries once for all.
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
        """A check's rows, as far as they came, and what went wrong; each row is said when it comes. The deadline, by
        the monotonic clock, ends it earlier than its own seconds may."""
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
