"""`sample.py`: sample images for a task, and write them with a labelled grid, their metadata and metrics."""

import json
import logging
import time
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from spnn.configs import instantiate
from spnn.errors import InputError
from spnn.outputs import outputs_of
from spnn.runs import check_results_folder
from spnn.sampling.generate import check_counts, check_guidance, check_precision, generate
from spnn.sampling.models import load_models
from spnn.sampling.results import fault, measure, save_metadata, save_pictures, save_tensors, track
from spnn.sampling.store import SampleStore
from spnn.sampling.tasks import Problem, pose
from spnn.tracking import tracking

__all__ = ["SEEDS_APART", "sample"]

log = logging.getLogger(__name__)

_FRAMES = {None: 0, "strip": 10, "gif": 50}
SEEDS_APART = 1_000_000  # seeds of a target's samples: far enough that targets' seeds don't meet


def sample(config: DictConfig, folder: str | Path) -> dict[str, float]:
    """Carry out ``config.task`` in a folder; return the metrics of the samples.

    The folder gets a PNG per image, ``grid.png``, ``metadata.jsonl``, ``metrics.json``, ``samples.safetensors`` and
    ``sample.yaml``. An interrupted sampling of the same is continued; other results that are there are kept under their
    time.

    Raises:
        InputError: If an option, a model, an image or an attribute is missing or unknown.
    """
    _check(config)
    folder = check_results_folder(folder, marker="sample.yaml")
    models = load_models(config)
    problem = pose(config, models, lambda images: outputs_of(models.operator, images))
    copies = config.n_per_target
    names = problem.names if copies == 1 else [f"{name}_{copy}" for name in problem.names for copy in range(copies)]
    asked = requests(problem, config.seed + config.first, copies)
    sampler = instantiate(config.sampler, schedule=models.prior.schedule)
    if sampler.start is not None:
        if problem.images is None:
            raise InputError(f"sampler.start needs images to start from, but task={config.task} has none.")
        asked["image"] = problem.images.repeat_interleave(copies, 0)
    guidance = instantiate(config.guidance)
    check_guidance(models, guidance, sampler, asked)
    store = SampleStore(folder, names)
    if store.open(config, "sample.yaml", asked):
        log.info("%s: continuing; %d of %d images are there", folder, len(names) - len(store.missing()), len(names))
    frames = _FRAMES[config.trajectory]
    count, start = len(store.missing()), time.perf_counter()
    writes = generate(
        models,
        guidance,
        sampler,
        asked,
        store,
        trainer=config.trainer,
        batch_size=config.batch_size,
        frames=frames,
        compile=config.compile,
        title=config.task,
    )
    seconds = time.perf_counter() - start
    if not writes:
        return {}
    samples = store.collect()
    if models.operator is not None:
        samples["y"] = outputs_of(models.operator, samples["image"])
    metrics = measure(problem, models, samples["image"], samples.get("y"), copies, download=config.download)
    metrics |= {"seconds": seconds, "images_per_second": count / seconds}
    save_tensors(config.save, folder, {"image": samples["image"], **({"y": samples["y"]} if "y" in samples else {})})
    save_metadata(folder / "metadata.jsonl", names, problem, models, asked["seed"].tolist(), samples.get("y"))
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    levels = sampler.levels()
    steps = [levels[place] for place in sampler.evenly_spread(frames)]
    pictures = save_pictures(folder, config, problem, models, samples, steps)
    job = f"sample {config.task}"
    group = models.run.title if models.run else "samples"
    with tracking(config.get("logger"), folder, config=config, group=group, job=job) as loggers:
        track(loggers, folder, metrics)
    store.close()
    log.info("%d images in %s: %s", len(names), folder, ", ".join(path.name for path in pictures))
    log.info("%s", "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    if wrong := fault(metrics):
        log.warning("the pictures are broken, whatever agrees: %s. Try guidance=nlbp_bounded, or set less.", wrong)
    return metrics


def requests(problem: Problem, first_seed: int, copies: int) -> dict[str, Tensor]:
    """One row per sample: ``seed``, ``y`` if something is wanted, ``free`` if some of it is. A target's first sample
    doesn't depend on how many there are."""
    count = len(problem.names)
    seeds = first_seed + torch.arange(count)[:, None] + SEEDS_APART * torch.arange(copies)
    asked = {"seed": seeds.flatten()}
    if problem.y is not None:
        asked["y"] = problem.y.repeat_interleave(copies, 0)
    if problem.free is not None:
        asked["free"] = problem.free.expand_as(asked["y"]).clone()
    return asked


def _check(config: DictConfig) -> None:
    """Find what would else come to light only after sampling."""
    check_precision(config.trainer)
    if config.trajectory not in _FRAMES:
        raise InputError(f"a trajectory is drawn as strip or gif (null: not at all), not {config.trajectory!r}.")
    if config.save not in ("safetensors", "npz", None):
        raise InputError(f"samples are saved as safetensors or npz (null: as PNG alone), not {config.save!r}.")
    check_counts(config, "batch_size", "n_per_target", "shown")
    if config.first < 0 or (config.count is not None and config.count < 1):
        raise InputError(f"`first` must be at least 0 and `count` at least 1, got {config.first} and {config.count}.")
