"""What is tracked, with any loggers: metrics go to all of them; pictures, tables and files only to trackers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from spnn.configs import blanks, instantiate, plain
from spnn.tracking.harmless import harmless
from spnn.tracking.tracker import Tracker

__all__ = ["log_bars", "log_picture", "log_table", "log_weights", "tracking"]


@contextmanager
def tracking(
    configs: DictConfig | None, folder: Path, *, config: DictConfig, group: str, job: str, steps: int = 0
) -> Iterator[list[Logger]]:
    """Make loggers, and finish them properly, even after an error.

    Arguments:
        configs: Name to a logger's config; null switches a logger off. None for no logger.
        folder: The folder that they write to.
        config: All options of the work that is tracked, for loggers that show them.
        group: The name of what belongs together, such as a run's stages.
        job: The work that is tracked: a stage, or a sampling.
        steps: The number of steps made before, if a training is resumed.
    """
    filled = {"group": group, "job": job, "sweep": _sweep(), "steps": steps, "purge_step": steps or None}
    loggers = [
        instantiate(logger, save_dir=str(folder), **blanks(logger, **filled))
        for logger in (configs or {}).values()
        if logger is not None
    ]
    for tracker in _trackers(loggers):
        tracker.options = plain(config)
    code = 1
    try:
        yield loggers
        code = 0
    finally:
        _each(loggers, "finish", code)


def log_picture(loggers: Iterable[Logger], name: str, path: Path, step: int | None = None) -> None:
    """Show a PNG."""
    _each(loggers, "log_picture", name, path, step)


def log_table(loggers: Iterable[Logger], name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show rows of named values; a path stands for a picture. There is a column for each name in any row. Trackers need
    one type per column, so a column of several types, not counting gaps, becomes text."""
    columns = {}
    for column in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(column) for row in rows]
        kinds = {float if type(cell) is int else type(cell) for cell in cells if cell is not None}
        columns[column] = [None if cell is None else str(cell) for cell in cells] if len(kinds) > 1 else cells
    if columns:
        _each(loggers, "log_table", name, list(columns), [list(row) for row in zip(*columns.values(), strict=True)])


def log_bars(loggers: Iterable[Logger], name: str, values: Mapping[str, float | None]) -> None:
    """Show a bar chart of values by name."""
    if values:
        _each(loggers, "log_bars", name, values)


def log_weights(loggers: Iterable[Logger], name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
    """Pass weights to the trackers that are set to keep them."""
    keeping = [tracker for tracker in _trackers(loggers) if tracker.artifacts]
    _each(keeping, "log_weights", re.sub(r"[^\w.-]", "-", name), files, metrics)


@rank_zero_only
def _each(loggers: Iterable[object], method: str, *arguments: Any) -> None:
    for tracker in _trackers(loggers):
        harmless(getattr(tracker, method))(*arguments)


def _trackers(loggers: Iterable[object]) -> list[Tracker]:
    return [logger for logger in loggers if isinstance(logger, Tracker)]


def _sweep() -> str | None:
    """The name of the multirun's folder if this is a job of one, else None."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).resolve().name
