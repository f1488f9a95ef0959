"""Run the stages of training in order, each from the best weights of those before it."""

import logging
import warnings
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from spnn.errors import InputError
from spnn.runs import Run
from spnn.training.stage import Stage

__all__ = ["train"]

log = logging.getLogger(__name__)

# What these say doesn't hold for batches that are one indexing of an array, or is said better by the config.
_IRRELEVANT_WARNINGS = [".*does not have many workers.*", ".*number of training batches .* is smaller than the logging.*"]


def train(config: DictConfig) -> dict[str, float]:
    """Train ``config.stages`` in ``config.folder``; return the test metrics as ``{"stage/metric": value}``.

    Raises:
        InputError: If a stage is unknown, or needs one that neither this run nor ``config.from_run`` has.
    """
    if unknown := set(config.stages) - set(config.stage):
        raise InputError(f"unknown stages {sorted(unknown)}; choose from {list(config.stage)}.")
    earlier = Run(config.from_run) if config.from_run else None
    if "inverse" in config.stages and "task" not in config.stages and (earlier is None or not earlier.weights("task").exists()):
        raise InputError(
            "the stage `inverse` starts from a network that `task` has trained: add `task` to `stages`, or give the "
            "folder of a run that has it as `from_run`."
        )
    for message in _IRRELEVANT_WARNINGS:
        warnings.filterwarnings("ignore", message)
    L.seed_everything(config.seed, workers=True, verbose=False)
    run = Run.create(config.folder, config)
    if earlier is not None:
        run.take_weights_from(earlier)
    results = {}
    for name in config.stages:
        metrics = run_stage(run, name)
        run.save_metrics(name, metrics)
        results |= {f"{name}/{metric}": value for metric, value in metrics.items()}
    return results


def run_stage(run: Run, name: str) -> dict[str, float]:
    """Train one stage, test its best checkpoint, save its weights; return the test metrics."""
    config = run.config.stage[name]
    make_stage = instantiate(config.module)
    model = run.build(make_stage.func.trains)
    if name == "inverse":
        run.load_weights("task", model)
    stage: Stage = make_stage(model.to(memory_format=torch.channels_last))
    folder = run.folder / name
    folder.mkdir(exist_ok=True)
    trainer: L.Trainer = instantiate(
        OmegaConf.merge(run.config.trainer, config.trainer),
        callbacks=_instantiate_all({**run.config.callbacks, **config.callbacks}),
        logger=_instantiate_all(run.config.logger, save_dir=str(folder)),
        default_root_dir=str(folder),
        _convert_="all",
    )
    size = sum(p.numel() for p in stage.parameters() if p.requires_grad) / 1e6
    log.info("stage %s: %d steps of batch %d, %.2f million parameters", name, trainer.max_steps, config.batch_size, size)
    data = run.data(config.batch_size)
    trainer.fit(stage, datamodule=data)
    if trainer.interrupted:
        raise KeyboardInterrupt
    (metrics,) = trainer.test(stage, datamodule=data, ckpt_path="best", verbose=False)
    run.save_weights(name, stage.model)
    means = {key.removeprefix("test/"): value for key, value in metrics.items()}
    shown = "  ".join(f"{key} {value:.4g}" for key, value in means.items() if "/" not in key)
    log.info("stage %s, on the test split: %s", name, shown)
    return means


def _instantiate_all(configs: DictConfig | dict[str, Any], **arguments: Any) -> list[Any]:
    """Instantiate each named config; one that is null was switched off."""
    return [instantiate(config, **arguments) for config in configs.values() if config is not None]
