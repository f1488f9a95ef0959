"""Run the stages of training in order, each from the best weights of those before it."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from spnn.configs import can_train, instantiate
from spnn.errors import InputError
from spnn.runs import Run
from spnn.training.stage import Stage

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(config: DictConfig, folder: str | Path) -> dict[str, float]:
    """Train ``config.stages`` in a new run's folder; return the test metrics as ``{"stage/metric": value}``.

    Raises:
        InputError: If a stage is unknown, or needs one that neither this run nor ``config.from_run`` has, or if the
            folder holds a run already.
        NonFiniteLossError: If a loss is NaN or infinite.
    """
    earlier = Run(config.from_run) if config.from_run else None
    check_stages(config, earlier)
    if rank_zero_only.rank == 0:
        run = Run.create(folder, config)
        if earlier is not None:
            run.take_weights_from(earlier, but=config.stages)
    else:  # a process that the first one has started
        run = Run(folder)
    results = {}
    for name in config.stages:
        results |= {f"{name}/{metric}": value for metric, value in run_stage(run, name).items()}
    return results


def check_stages(config: DictConfig, earlier: Run | None) -> None:
    """Raise InputError if ``config.stages`` can't be run in its order."""
    stages = config.stages
    if not OmegaConf.is_list(stages) or len(set(stages)) != len(stages):
        raise InputError(f"`stages` must be a list without repeats, e.g. [task,inverse], got {stages}.")
    if unknown := set(stages) - set(config.stage):
        raise InputError(f"unknown stages {sorted(unknown)}; choose from {list(config.stage)}.")
    if "prior" in stages and not can_train(config.prior):
        raise InputError(
            "this choice of `prior` has nothing to train: choose another, such as prior=unet_32, or leave `prior` out "
            "of `stages`."
        )
    if "inverse" not in stages:
        return
    before = stages[: stages.index("inverse")]
    if "task" not in before and ("task" in stages or earlier is None or not earlier.weights("task").exists()):
        raise InputError(
            "the stage `inverse` starts from a network that `task` has trained: put `task` before it in `stages`, or "
            "give the folder of a run that has it as `from_run`."
        )


def run_stage(run: Run, name: str) -> dict[str, float]:
    """Train one stage, test its best weights and save them; return the test metrics."""
    config = run.config.stage[name]
    L.seed_everything(run.config.seed, workers=True, verbose=False)  # a stage alone is as it is among others
    make_stage = instantiate(config.module)
    model = run.build(make_stage.func.trains)
    if name == "inverse":
        run.load_weights("task", model)
    stage: Stage = make_stage(model.to(memory_format=torch.channels_last))
    folder = run.folder / name
    folder.mkdir(exist_ok=True)
    callbacks = _instantiate_all({**run.config.callbacks, **config.callbacks})
    options = OmegaConf.merge(run.config.trainer, config.trainer)
    if options.max_steps > 0 and options.val_check_interval is not None:  # the best weights are found by validation
        options.val_check_interval = min(options.val_check_interval, options.max_steps)
    trainer: L.Trainer = instantiate(
        options,
        callbacks=callbacks,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        logger=_instantiate_all(run.config.logger, save_dir=str(folder)),
        default_root_dir=str(folder),
    )
    steps = trainer.max_steps if trainer.max_steps > 0 else None
    size = sum(p.numel() for p in stage.parameters() if p.requires_grad) / 1e6
    log.info("stage %s: %s steps of batch %d, %.2f M parameters", name, steps, config.batch_size, size)
    data = run.data(config.batch_size, steps=steps)
    torch.manual_seed(run.config.seed + trainer.global_rank)  # each process draws noise of its own
    trainer.fit(stage, datamodule=data)
    if trainer.interrupted:
        raise KeyboardInterrupt
    # Not `ckpt_path="best"`: where weights are averaged, Lightning would then load the ones that are not.
    best = torch.load(trainer.checkpoint_callback.best_model_path, map_location="cpu", weights_only=True)
    stage.load_state_dict(best["state_dict"])
    (logged,) = trainer.test(stage, datamodule=data, verbose=False)
    metrics = {key.removeprefix("test/"): value for key, value in logged.items()}
    if trainer.is_global_zero:
        run.save_weights(name, stage.model)
        run.save_metrics(name, metrics)
    trainer.strategy.barrier()  # the next stage may start from these weights in every process
    shown = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items() if "/" not in key)
    log.info("stage %s, on the test split: %s", name, shown)
    return metrics


def _instantiate_all(configs: DictConfig | dict[str, Any], **arguments: Any) -> list[Any]:
    """Instantiate each named config; one that is null was switched off."""
    return [instantiate(config, **arguments) for config in configs.values() if config is not None]
