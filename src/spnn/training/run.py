"""Run the training stages in order; each starts from the best weights of the stages before it."""

import logging
import os
import pkgutil
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import torch
from diffusers import UNet2DModel
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from spnn.configs import blanks, can_train, instantiate, merged
from spnn.data import Source
from spnn.errors import InputError, choice
from spnn.menu import program
from spnn.networks.layers import SubNetwork
from spnn.outputs import MOST, TrainingOutputs
from spnn.processes import rank
from spnn.readout import checked
from spnn.runs import Record, Run, stages_of, trained_by
from spnn.settings import at_work
from spnn.tracking import log_bars, log_weights, tracking
from spnn.training.checkpoints import AtomicCheckpoints, steps_in
from spnn.training.inverse import InverseStage
from spnn.training.stage import Stage

__all__ = ["train"]

log = logging.getLogger(__name__)

# Options that may change when a run is resumed: where and how it runs, not what it trains.
_CHOSEN_ANEW = (
    *("trainer", "logger", "callbacks", "compile", "data.num_workers", "data.root", "data.cache"),
    *("data.source.root", "data.source.cache", "data.source.cache_folder"),
)
_TRAINED = ("trainer.accumulate_grad_batches", "trainer.gradient_clip_val")


@at_work
def train(
    config: DictConfig, folder: str | Path, said: Sequence[str] = (), *, is_named: bool = True
) -> dict[str, float]:
    """Train ``config.stages`` in a run's folder; return the test metrics as ``{"stage/metric": value}``.

    Arguments:
        config: The config of ``train.py``. With ``config.resume``, the run in the folder continues: finished stages are
            left alone, and an interrupted stage continues from its last checkpoint.
        folder: A new run's folder, or the interrupted run's.
        said: The overrides on the command line. If they name none of the run's own options, a run is resumed with
            the options it was started with; otherwise they must be the same.
        is_named: Whether somebody chose the folder. If not, it is named after the time, and ``_2`` or a higher number
            is added if another run, started in the same second, already has it.

    Raises:
        InputError: If a stage is unknown, or needs one that neither this run nor ``config.from_run`` has; if the
            data are missing; or if the folder already holds a run, has none to resume, or has one with other options.
        NonFiniteLossError: If a loss is NaN or infinite.
    """
    check_trainer(config)
    record = None
    if config.resume:
        run = resume_run(config, folder, said)
        check_stages(run.config, run)
        run.source.check()
    else:
        earlier = Run(config.from_run) if config.from_run else None
        check_stages(config, earlier)
        source = make_source(config.data)
        source.check()
        if is_first_process():
            record = claimed(Path(folder), said, is_named)
            try:
                run = Run.create(record.folder, config, earlier)
            except InputError:
                record.release()
                raise
            run.keep_labels(source)
        else:
            run = Run.wait_for(folder)
            run.source = source
    if is_first_process() and record is None:
        record = Record(run.folder, said, (SIGTERMException,))
    results: dict[str, float] = {}
    with record or nullcontext():
        if config.resume and all(run.weights(name).exists() for name in run.config.stages):
            log.info("%s: all stages are finished already", run.folder)
        elif config.resume:
            log.info("resuming %s", run.folder)
        for name in run.config.stages:
            if config.resume and run.weights(name).exists():
                metrics = run.metrics(name)
            else:
                if record:
                    record.stage(name)
                metrics = run_stage(run, name)
            results |= {f"{name}/{metric}": value for metric, value in metrics.items()}
    if is_first_process():
        draws = run.has("prior") and run.has("surjection")
        log.info("the run: %s%s", run.folder, f"; next: {program('sample', f'run={run.folder}')}" if draws else "")
    return results


def make_source(data: DictConfig) -> Source:
    """The image source that a config names.

    Raises:
        InputError: If the config names none, or the source's labels, image shape or readout are invalid.
    """
    if OmegaConf.select(data, "source._target_") is None:
        raise InputError("the data's config must name a source: `source: {_target_: my_module.MySource}`.")
    source = instantiate(data.source)
    if not isinstance(source, Source):
        raise InputError(f"data.source must make a subclass of spnn.data.Source, got {type(source).__name__}.")
    names, shape = getattr(source, "label_names", None), getattr(source, "image_shape", None)
    if not names or isinstance(names, str):
        raise InputError(
            f"data.source must name its labels in a tuple: {type(source).__name__}.label_names is {names!r}."
        )
    if not isinstance(shape, Sequence) or len(shape) != 3:
        raise InputError(
            f"data.source must say its images' shape, (C, H, W): {type(source).__name__}.image_shape is {shape!r}."
        )
    checked(source.readout, names)
    return source


def claimed(folder: Path, said: Sequence[str], is_named: bool) -> Record:
    """The record of a new run in a folder, which no other process can then take.

    Raises:
        InputError: If the user chose the folder and another process is training in it.
    """
    number = 0
    while True:
        number += 1
        record = Record(folder if number == 1 else f"{folder}_{number}", said, (SIGTERMException,))
        try:
            record.claim()
        except InputError:
            if is_named:
                raise
            continue
        if is_named or not (record.folder / "config.yaml").exists():
            if number > 1:  # the processes that Lightning starts for other devices find the folder by this
                os.environ["SPNN_STARTED"] = f"{os.environ['SPNN_STARTED']}_{number}"
            return record
        record.release()


def is_first_process() -> bool:
    """Whether this is the one process, among all on all nodes, that writes."""
    node = os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or "0"
    return rank() == 0 and int(node) == 0


def resume_run(config: DictConfig, folder: str | Path, said: Sequence[str]) -> Run:
    """The run in a folder, to be continued; where and how it runs may change, but not what it trains."""
    run = Run(folder if Path(folder).exists() else Path(folder).absolute())  # never a run from the package
    keys = [re.split(r"[=@]", word.lstrip("+~"))[0].replace("/", ".") for word in said]
    new = [key for key in keys if _is_chosen_anew(key)]
    if any(key not in ("folder", "resume", *new) for key in keys):  # the run's own options are given again
        differing = run.differences(config, but=lambda key: key in ("folder", "resume") or _is_chosen_anew(key))
        if differing:
            differing.sort(key=lambda text: text.partition("=")[0] not in keys)  # what was said here comes first
            raise InputError(
                f"{run.folder} was started with other options: {'; '.join(differing[:5])}. Resume it with the same "
                "ones, or with none but `folder`, or start a new run."
            )
    for key in new:
        OmegaConf.update(run.config, key, OmegaConf.select(config, key), merge=False, force_add=True)
        for also in ("root", "cache", "cache_folder"):  # the run's config is resolved, so set the source's copy too
            if key == f"data.{also}" and also in run.config.data.source:
                run.config.data.source[also] = OmegaConf.select(config, f"data.source.{also}")
    return run


def _is_chosen_anew(key: str) -> bool:
    return any(key == part or key.startswith(f"{part}.") for part in _CHOSEN_ANEW) and key not in _TRAINED


def check_trainer(config: DictConfig) -> None:
    """Raise InputError if the seed is invalid, or Lightning refuses the devices."""
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise InputError(f"seed must be a whole number from 0 to 2^32 - 1, got {config.seed}.")
    try:
        instantiate(config.trainer, max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    except (RuntimeError, InstantiationException) as error:  # such as devices that Slurm hasn't allocated
        raise InputError(f"the trainer can't be made: {error.__cause__ or error}") from error


def check_stages(config: DictConfig, earlier: Run | None) -> None:
    """Raise InputError if ``config.stages`` can't be run in the given order."""
    stages = config.stages
    if not OmegaConf.is_list(stages) or len(set(stages)) != len(stages):
        raise InputError(f"`stages` must be a list without repeats, e.g. [task,inverse], got {stages}.")
    for name in ("", *(f"stage.{stage}." for stage in config.stage)):
        precision = OmegaConf.select(config, f"{name}trainer.precision")
        if precision not in (None, "32-true", 32, "32", "bf16-mixed", "64-true"):
            raise InputError(
                f"{name}trainer.precision={precision} isn't supported in training: choose 32-true or bf16-mixed. "
                "(16-bit floats would need loss scaling, which the fused optimisers don't support.)"
            )
    if unknown := set(stages) - set(config.stage):
        raise InputError(f"unknown stages {sorted(unknown)}{choice(min(unknown), list(config.stage))}.")
    if "prior" in stages and not can_train(config.prior):
        raise InputError(
            "this choice of `prior` has nothing to train: choose another, such as prior=unet_32, or leave `prior` out "
            "of `stages`."
        )
    for name in stages:
        epochs = config.stage[name].epochs
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise InputError(f"stage.{name}.epochs must be a whole number of at least 1, or null, got {epochs!r}.")
        if config.stage[name].batch_size == 1 and trained_by(config, name) == "judge":
            raise InputError(f"stage.{name}.batch_size=1: the judge normalises over a batch, so give at least 2.")
        made = pkgutil.resolve_name(config.stage[name].module._target_)
        if not (isinstance(made, type) and issubclass(made, Stage)):
            raise InputError(f"stage.{name}.module must make a subclass of spnn.training.Stage, got {made!r}.")
        if not made.continues:
            continue
        before = _stages_before(config, name)
        if not any(s in stages or (earlier is not None and earlier.weights(s).exists()) for s in before):
            first = stages_of(config, trained_by(config, name))[-1]
            raise InputError(
                f"the stage `{name}` starts from weights that another has trained: put `{first}` before it in "
                "`stages`, or give the folder of a run that has it as `from_run`."
            )


def _stages_before(config: DictConfig, name: str) -> list[str]:
    """The stages that a stage continues from, nearest first."""
    row = stages_of(config, trained_by(config, name))
    return row[row.index(name) + 1 :]


def run_stage(run: Run, name: str) -> dict[str, float]:
    """Train one stage (from its last checkpoint, if any), then test and save its best weights; return the test
    metrics."""
    config, folder = run.config.stage[name], run.folder / name
    folder.mkdir(exist_ok=True)
    checkpoint = folder / "checkpoints/last.ckpt"
    steps_before = steps_in(checkpoint) if checkpoint.exists() else 0
    L.seed_everything(run.config.seed, workers=True, verbose=False)  # alone, a stage gives the same result
    make_stage = instantiate(config.module)
    model = run.build(make_stage.func.trains)
    if make_stage.func.continues:
        run.load_weights(next(s for s in _stages_before(run.config, name) if run.weights(s).exists()), model)
    stage: Stage = make_stage(model.to(memory_format=torch.channels_last))
    if run.config.compile:
        compile_parts(model, run.config.compile)
    with tracking(
        run.config.logger, folder, config=run.config, group=run.title, job=name, steps=steps_before
    ) as loggers:
        trainer, metrics = fit_and_test(run, name, stage, loggers, steps_before)
        if trainer.is_global_zero:
            changed = stage.trains == "surjection" and not isinstance(stage, InverseStage)  # phase 2 changes no output
            if changed and len(run.source.label_names) <= MOST:
                source = run.source
                described = TrainingOutputs.of_images(stage.model.eval(), source.split("train"), source.readout)
                described.save(run.training_outputs_file)
            run.save_metrics(name, metrics)
            run.save_weights(name, stage.model)
            scores: dict[str, dict[str, float]] = {}
            for kind, slash, of in (key.partition("/") for key in metrics):
                if slash:
                    scores.setdefault(kind, {})[of] = metrics[f"{kind}/{of}"]
            for kind, values in scores.items():
                log_bars(loggers, f"{kind} of each", values)
            log_weights(loggers, f"{run.title}-{name}", [run.weights(name), run.folder / "config.yaml"], metrics)
    trainer.strategy.barrier()  # the next stage may start from these weights in every process
    return metrics


def fit_and_test(
    run: Run, name: str, stage: Stage, loggers: Sequence[Logger], steps_before: int
) -> tuple[L.Trainer, dict[str, float]]:
    """Train a stage (from its last checkpoint, if that has any steps), then load its best weights and test them."""
    config, folder = run.config.stage[name], run.folder / name
    callbacks = [
        instantiate(callback, **blanks(callback, run=run))
        for callback in {**run.config.callbacks, **config.callbacks}.values()
        if callback is not None  # null switches a callback off
    ]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:  # by default the first logger's folder
            callback.dirpath = os.path.realpath(folder / "checkpoints")
    trainer: L.Trainer = instantiate(
        stage_length(run, name),
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        logger=list(loggers),
        default_root_dir=str(folder),
    )
    size = sum(p.numel() for p in stage.parameters() if p.requires_grad) / 1e6
    since = f" from step {steps_before} on" if steps_before else ""
    log.info(
        "stage %s%s: %s steps of batch %d, %.2f M parameters", name, since, trainer.max_steps, config.batch_size, size
    )
    data = run.data(config.batch_size, batches=trainer.max_steps * trainer.accumulate_grad_batches)
    checkpoint = folder / "checkpoints/last.ckpt"
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(trainer.strategy.root_device)
    trainer.fit(stage, datamodule=data, ckpt_path=checkpoint if steps_before else None, weights_only=True)
    memory = peak_memory(trainer.strategy.root_device) / 2**30
    best = folder / "checkpoints/best.ckpt"
    if not best.exists():
        log.warning(
            "stage %s: no validation chose the best weights (there is no %s), so the last are taken", name, best
        )
    if (
        best.exists() or steps_before == trainer.max_steps
    ):  # not `ckpt_path="best"`: if weights are averaged, Lightning would load the plain ones
        chosen = best if best.exists() else checkpoint
        stage.load_state_dict(torch.load(chosen, map_location="cpu", weights_only=True, mmap=True)["state_dict"])
    (logged,) = trainer.test(stage, datamodule=data, verbose=False)
    metrics = {key.removeprefix("test/"): value for key, value in logged.items()}
    shown = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items() if "/" not in key)
    held = f"  (peak memory {memory:.2f} GiB)" if memory else ""
    log.info("stage %s, on the test split: %s%s", name, shown, held)
    return trainer, metrics


def stage_length(run: Run, name: str) -> DictConfig:
    """The options of a stage's trainer, with its length in steps. ``epochs`` counts passes through the training
    images by all processes together; each epoch is followed by a validation."""
    config = run.config.stage[name]
    options = merged(run.config.trainer, config.trainer)
    if config.epochs is not None:
        run.source.prepare()
        images = len(run.source.split("train"))
        processes = instantiate(options, logger=False, enable_checkpointing=False).world_size
        batch = config.batch_size * processes * options.accumulate_grad_batches
        options.max_steps = max(1, config.epochs * images // batch)
        options.val_check_interval = max(1, images // (config.batch_size * processes))
    if not isinstance(options.max_steps, int) or options.max_steps < 1:
        raise InputError(f"stage.{name} needs a length: set stage.{name}.epochs or stage.{name}.trainer.max_steps.")
    if options.val_check_interval is not None:  # validate at least once: validation finds the best weights
        batches = options.max_steps * options.accumulate_grad_batches
        options.val_check_interval = min(options.val_check_interval, batches)
    return options


def compile_parts(model: nn.Module, backend: bool | str) -> None:
    """Compile the parts where a model spends its time with :func:`torch.compile`: its sub-networks or UNet, or all."""
    parts: list[nn.Module] = [part for part in model.modules() if isinstance(part, SubNetwork | UNet2DModel)]
    # All sub-networks share one code object, and by default PyTorch stops compiling it after eight of them.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 4 * len(parts))
    for part in parts or [model]:
        part.compile(**({} if backend is True else {"backend": backend}))


def peak_memory(device: torch.device) -> int:
    """The peak memory of this process in bytes: on its GPU if it computes there, else in main memory; 0 on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
