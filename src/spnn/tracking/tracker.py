"""What a tracker is: Lightning's logger of metrics, which shows pictures, tables and files, too."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger

from spnn.errors import InputError
from spnn.tracking.harmless import say_once

__all__ = ["RunTracker", "Tracker", "check_installed", "kept_id", "run_title"]


class Tracker:
    """A logger of Lightning's that shows more than metrics. It overrides what it can show; the rest is left out.

    A folder (a stage's, a sampling's) is one run of the tracker; a training that goes on goes on with it.
    :mod:`spnn.tracking` calls these in the first process alone; what one raises is said once, and stops nothing.
    Lightning itself calls ``log_metrics(metrics, step)``, which is to be as harmless: ``@rank_zero_only @harmless``.
    """

    artifacts: bool = False
    """Whether a finished stage's weights are kept in the tracker, too."""
    options: Mapping[str, Any] = MappingProxyType({})
    """All options of what is tracked, set before the run begins."""

    def log_picture(self, name: str, path: Path, step: int | None = None) -> None:
        """Show a PNG."""

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show rows of cells: numbers, texts, None for a gap; a path is that of a picture. The cells of a column are of
        one type."""

    def log_bars(self, name: str, values: Mapping[str, float | None]) -> None:
        """Show values by name, as bars where there are such charts."""
        self.log_table(name, ["name", "value"], [list(pair) for pair in values.items()])

    def log_weights(self, name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        """Keep a stage's files; ``name`` is of letters, digits and ``-_.``. Called where ``artifacts`` is true."""

    def finish(self, code: int = 0) -> None:
        """End the run, so that the next one in this process is another; ``code`` 1 marks it as failed."""


class RunTracker(Tracker, Logger):
    """A tracker that builds on none of Lightning's loggers: ``begin`` makes what logs."""

    _experiment: Any = None

    def begin(self) -> Any:
        """Begin the tracker's run, or go on with it, and show the options."""
        raise NotImplementedError

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What ``begin`` made, at the first use. Lightning asks for it, so it may not raise; and what can't begin isn't
        tried again, for a server that is gone would be waited for each time."""
        if self._experiment is None:
            try:
                self._experiment = self.begin()
            except Exception as error:
                say_once(f"{type(self).__name__} can't begin: {type(error).__name__}: {error}", logging.WARNING)
                self._experiment = _Nothing()
        return self._experiment

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Lightning's, of a module alone; ``options`` has all."""


class _Nothing:
    """What is left of a run that can't begin: whatever is asked of it, nothing."""

    def __getattr__(self, name: str) -> "_Nothing":
        return self

    def __call__(self, *_: Any, **__: Any) -> "_Nothing":
        return self


def check_installed(extra: str, *modules: str) -> None:
    """Raise InputError if ``logger=<extra>`` lacks a module, which the extra of this name brings."""
    if missing := [module for module in modules if find_spec(module) is None]:
        raise InputError(f"logger={extra} needs {' and '.join(missing)}: pip install 'spnn[{extra}]'.")


def run_title(group: str | None, job: str | None) -> str:
    """What a tracker's run is called: the last part of what it belongs to, and what it is."""
    return "/".join(part for part in (group and group.rpartition("/")[2], job) if part)


def kept_id(path: Path, make: Callable[[], str] = lambda: secrets.token_hex(4)) -> str:
    """The id of a folder's run, kept in a file of JSON; made at its first start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": make()}) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["id"]
