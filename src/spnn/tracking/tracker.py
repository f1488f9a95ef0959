"""The base of trackers: Lightning's loggers of metrics that also show pictures, tables and files."""

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
    """A Lightning logger that shows more than metrics. It overrides the methods for what it can show; the rest is
    ignored.

    Each folder (a stage's, a sampling's) is one run of the tracker; a resumed training continues the same run.
    :mod:`spnn.tracking` calls these methods in the first process only; an error in one is reported once, and stops
    nothing. Lightning itself calls ``log_metrics(metrics, step)``, so that must be made as safe with
    ``@rank_zero_only @harmless``.
    """

    artifacts: bool = False
    """Whether a finished stage's weights are kept in the tracker, too."""
    options: Mapping[str, Any] = MappingProxyType({})
    """All options of the work that is tracked, set before the run begins."""

    def log_picture(self, name: str, path: Path, step: int | None = None) -> None:
        """Show a PNG."""

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show rows of cells: numbers, texts, None for a gap; a path stands for a picture. All cells of a column have
        the same type."""

    def log_bars(self, name: str, values: Mapping[str, float | None]) -> None:
        """Show values by name, as a bar chart if the tracker has those."""
        self.log_table(name, ["name", "value"], [list(pair) for pair in values.items()])

    def log_weights(self, name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        """Keep a stage's files; ``name`` has letters, digits and ``-_.`` only. Called if ``artifacts`` is true."""

    def finish(self, code: int = 0) -> None:
        """End the run, so that the next one in this process is a new one; ``code`` 1 marks it as failed."""


class RunTracker(Tracker, Logger):
    """A tracker that builds on none of Lightning's loggers: ``begin`` makes the object that logs."""

    _experiment: Any = None

    def begin(self) -> Any:
        """Begin the tracker's run, or continue it, and show the options."""
        raise NotImplementedError

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The object that ``begin`` makes, at the first use. Lightning asks for it, so it must not raise. If ``begin``
        fails, it isn't tried again, because we would wait each time for a server that is gone."""
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
        """Do nothing: Lightning passes only a module's options here; ``options`` has all of them."""


class _Nothing:
    """Stands in for a run that can't begin: any attribute or call gives itself, and does nothing."""

    def __getattr__(self, name: str) -> "_Nothing":
        return self

    def __call__(self, *_: Any, **__: Any) -> "_Nothing":
        return self


def check_installed(extra: str, *modules: str) -> None:
    """Raise InputError if ``logger=<extra>`` lacks a module, which the extra of the same name installs."""
    if missing := [module for module in modules if find_spec(module) is None]:
        raise InputError(f"logger={extra} needs {' and '.join(missing)}: pip install 'spnn[{extra}]'.")


def run_title(group: str | None, job: str | None) -> str:
    """The name of a tracker's run: the last part of its group, and its job."""
    return "/".join(part for part in (group and group.rpartition("/")[2], job) if part)


def kept_id(path: Path, make: Callable[[], str] = lambda: secrets.token_hex(4)) -> str:
    """The id of a folder's run, kept in a JSON file; made at the first start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"id": make()}) + "\n", encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))["id"]
