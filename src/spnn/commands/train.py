"""Train the stages of an experiment."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder
from spnn.training import train

__all__ = ["main"]


@entry_point("train")
def main(config: DictConfig) -> dict[str, float]:
    hydra, folder = HydraConfig.get(), job_folder(config)
    if hydra.mode == RunMode.MULTIRUN and (Path(folder) / "config.yaml").exists():
        config.resume = True  # a sweep that is started again goes on
    return train(config, folder, said=hydra.overrides.task)
