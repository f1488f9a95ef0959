"""Evaluate a trained run on held-out images."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder

__all__ = ["main"]


@entry_point("evaluate")
def main(config: DictConfig) -> dict[str, Any]:
    from spnn.evaluation import evaluate  # here, because help doesn't need PyTorch

    if HydraConfig.get().mode == RunMode.MULTIRUN:  # a folder per job: two jobs of one run must not share one
        config.folder = job_folder(config)
        config.report = f"{config.folder}/report.html"
    entries = evaluate(config)
    return entries[0] if entries else {}
