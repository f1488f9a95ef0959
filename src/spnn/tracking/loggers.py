"""What is tracked, whatever the loggers: metrics go to all of them, pictures and tables to those that can show them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from spnn.configs import blanks, instantiate
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
    code = 1
    for logger in loggers:
        if isinstance(logger, WandbLog):
            logger.options = OmegaConf.to_container(config, resolve=True)
    try:
        yield loggers
        code = 0
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLog):
                logger.finish(code)


def log_picture(loggers: Iterable[Logger], name: str, path: Path, step: int | None = None) -> None:
    """Show a PNG."""
    for logger in loggers:
        if isinstance(logger, WandbLog):
            logger.log_image(name, [str(path)], step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")


def log_table(loggers: Iterable[Logger], name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show rows of named values; a path is that of a picture. Columns are what any row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for logger in loggers:
        if isinstance(logger, WandbLog) and columns:
            logger.log_rows(name, columns, [[row.get(column) for column in columns] for row in rows])


def log_bars(loggers: Iterable[Logger], name: str, values: Mapping[str, float]) -> None:
    """Show a bar chart: an attribute's name to a value."""
    for logger in loggers:
        if isinstance(logger, WandbLog) and values:
            logger.log_bars(name, values)


def log_weights(loggers: Iterable[Logger], name: str, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
    """Upload weights, to those loggers that are told to."""
    for logger in loggers:
        if isinstance(logger, WandbLog) and logger.artifacts:
            logger.log_weights(name, files, metrics)
