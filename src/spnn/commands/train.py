"""Train the stages of an experiment."""

import signal
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder

__all__ = ["main"]


@entry_point("train")
def main(config: DictConfig) -> dict[str, float]:
    from lightning.pytorch.utilities.exceptions import SIGTERMException  # not at the top: help would take seconds

    from spnn.training import train

    hydra, folder = HydraConfig.get(), job_folder(config)
    if hydra.mode == RunMode.MULTIRUN and (Path(folder) / "config.yaml").exists():
        config.resume = True  # continue a sweep that is started again
    is_named = hydra.mode == RunMode.MULTIRUN or any(word.startswith("folder=") for word in hydra.overrides.task)
    try:
        return train(config, folder, said=hydra.overrides.task, is_named=is_named)
    except SIGTERMException:  # Lightning has shut down cleanly, but the work isn't done
        raise SystemExit(128 + signal.SIGTERM) from None
