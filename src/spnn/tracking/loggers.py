"""What is tracked, whatever the loggers: metrics go to all of them, pictures and tables to those that can show them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from PIL import Image

from spnn.configs import blanks, instantiate, plain
from spnn.tracking.harmless import harmless
from spnn.tracking.wandb_log import WandbLog

__all__ = ["log_bars", "log_picture", "log_table", "log_weights", "tracking"]


@contextmanager
def tracking(
    configs: DictConfig | None, folder: Path, *, config: DictConfig, group: str, job: str, steps: int = 0
) -> Iterator[list[Logger]]:
    """Make loggers, and end what they log in good order, also after an error.

    Arguments:
        configs: A logger's config by name; one that is null was switched off. None for no logger.
        folder: Where they write.
        config: All options of what is tracked, for those that show them.
        group: What belongs together, such as a run's stages.
        job: What is tracked: a stage, or a sampling.
        steps: How many steps were made before, of a training that goes on.
    """
    filled = {"group": group, "job": job, "steps": steps, "purge_step": steps or None}
    loggers = [
        instantiate(logger, save_dir=str(folder), **blanks(logger, **filled))
        for logger in (configs or {}).values()
        if logger is not None
    ]
    for logger in _wandb(loggers):
        logger.options = plain(config)
    code = 1
    try:
        yield loggers
        code = 0
    finally:
        for logger in _wandb(loggers):
            logger.finish(code)


@harmless
def log_picture(loggers: Iterable[Logger], name: str, path: Path, step: int | None = None) -> None:
    """Show a PNG."""
    for logger in loggers:
        if isinstance(logger, WandbLog):
            logger.log_image(name, [str(path)], step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")


@rank_zero_only
@harmless
def log_table(loggers: Iterable[Logger], name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show rows of named values; a path is that of a picture. Columns are what any row has; W&B's have one type: one
    with several here, not counting gaps, becomes text."""
    columns = {}
    for column in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(column) for row in rows]
        kinds = {float if type(cell) is int else type(cell) for cell in cells if cell is not None}
        columns[column] = [None if cell is None else str(cell) for cell in cells] if len(kinds) > 1 else cells
    if columns:
        for logger in _wandb(loggers):
            data = [[_shown(cell) for cell in row] for row in zip(*columns.values(), strict=True)]
            logger.log_table(name, list(columns), data)


@rank_zero_only
@harmless
def log_bars(loggers: Iterable[Logger], name: str, values: Mapping[str, float]) -> None:
    """Show a bar chart: a name to a value."""
    if values:
        for logger in _wandb(loggers):
            import wandb

            table = wandb.Table(columns=["name", "value"], data=[list(pair) for pair in values.items()])
            logger.experiment.log({name: wandb.plot.bar(table, "name", "value", title=name)})


@rank_zero_only
@harmless
def log_weights(loggers: Iterable[Logger], name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
    """Upload weights, to those loggers that are told to, as an artifact, whose name may hold letters, digits and
    ``-_.`` alone."""
    for logger in _wandb(loggers):
        if logger.artifacts:
            import wandb

            artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", name), type="model", metadata=dict(metrics))
            for path in files:
                artifact.add_file(str(path))
            logger.experiment.log_artifact(artifact)


def _wandb(loggers: Iterable[Logger]) -> list[WandbLog]:
    return [logger for logger in loggers if isinstance(logger, WandbLog)]


def _shown(cell: Any) -> Any:
    if isinstance(cell, Path):
        import wandb

        return wandb.Image(str(cell))
    return cell
