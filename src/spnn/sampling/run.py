"""Sample images for a task: what is asked for, the drawing, and what `sample.py` writes of it."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from spnn.configs import instantiate
from spnn.diffusion.guidance import Guidance
from spnn.diffusion.sampler import Sampler
from spnn.errors import InputError
from spnn.metrics import verdict
from spnn.outputs import outputs_of
from spnn.runs import check_results_folder
from spnn.sampling.generate import check_counts, check_guidance, check_precision, check_seed, generate
from spnn.sampling.models import Models, load_models
from spnn.sampling.results import looks, measure, save_metadata, save_pictures, save_tensors, took, track, views
from spnn.sampling.store import SampleStore, Store
from spnn.sampling.tasks import Problem, pose
from spnn.settings import at_work
from spnn.tracking import tracking

__all__ = ["SEEDS_APART", "Sampling", "check_options", "draw", "prepare", "sample"]

log = logging.getLogger(__name__)

_FRAMES = {None: 0, "strip": 10, "gif": 50}
SEEDS_APART = 1_000_000  # seeds of a target's samples: far enough that targets' seeds don't meet


@dataclass(frozen=True)
class Sampling:
    """What is to be drawn, and how.

    Attributes:
        problem: The N targets.
        names: Of the M samples, one or several for each target.
        asked: A row for each sample, see :func:`~spnn.sampling.generate.generate`.
        sampler, guidance: What they are drawn by.
    """

    problem: Problem
    names: list[str]
    asked: dict[str, Tensor]
    sampler: Sampler
    guidance: Callable[..., Guidance | None]


def prepare(
    config: DictConfig,
    models: Models,
    *,
    problem: Problem | None = None,
    images: Tensor | None = None,
    guidance: Callable[..., Guidance | None] | None = None,
) -> Sampling:
    """Pose ``config.task``, and check that it can be drawn; nothing is written.

    Arguments:
        config: Of ``sample.py``, see :func:`check_options`.
        models: What it works with.
        problem: The problem, if it isn't to be posed by the config.
        images: One's own images, [N, C, H, W] in [-1, 1], instead of those that the config names.
        guidance: Makes the guidance of a batch of targets, instead of ``config.guidance``.

    Raises:
        InputError: If an option, an image or an attribute is missing or unknown.
    """
    problem = problem or pose(config, models, lambda given: outputs_of(models.operator, given), images)
    copies = config.n_per_target
    names = problem.names if copies == 1 else [f"{name}_{copy}" for name in problem.names for copy in range(copies)]
    asked = requests(problem, config.seed + config.first, copies)
    if guidance is not None and problem.y is None:
        raise InputError(f"task={config.task} wants nothing that guidance could work towards: leave guidance out.")
    sampler = instantiate(config.sampler, schedule=models.prior.schedule)
    if sampler.start is not None:
        if problem.images is None:
            raise InputError(f"sampler.start needs images to start from, but task={config.task} has none.")
        asked["image"] = problem.images.repeat_interleave(copies, 0)
    guidance = guidance or instantiate(config.guidance)
    check_guidance(models, guidance, sampler, asked)
    return Sampling(problem, names, asked, sampler, guidance)


def draw(sampling: Sampling, models: Models, store: Store, config: DictConfig) -> bool:
    """Draw what the store lacks; return whether this is the process that should write results."""
    return generate(
        models,
        sampling.guidance,
        sampling.sampler,
        sampling.asked,
        store,
        trainer=config.trainer,
        batch_size=config.batch_size,
        frames=_FRAMES[config.trajectory],
        compile=config.compile,
        title=config.task,
    )


@at_work
def sample(config: DictConfig, folder: str | Path) -> dict[str, float]:
    """Carry out ``config.task`` in a folder; return the metrics of the samples.

    The folder gets a PNG per image, ``grid.png``, ``metadata.jsonl``, ``metrics.json``, ``samples.safetensors`` and
    ``sample.yaml``. An interrupted sampling of the same is continued; other results that are there are kept under their
    time.

    Raises:
        InputError: If an option, a model, an image or an attribute is missing or unknown.
    """
    check_options(config)
    folder = check_results_folder(folder, marker="sample.yaml")
    models = load_models(config)
    sampling = prepare(config, models)
    problem, names, asked = sampling.problem, sampling.names, sampling.asked
    store = SampleStore(folder, names)
    if store.open(config, "sample.yaml", asked):
        log.info("%s: continuing; %d of %d images are there", folder, len(names) - len(store.missing()), len(names))
    count, start = len(store.missing()), time.perf_counter()
    if not draw(sampling, models, store, config):
        return {}
    seconds = time.perf_counter() - start
    samples = store.collect()
    if models.operator is not None:
        samples["y"] = outputs_of(models.operator, samples["image"])
    seen = views(problem, models, samples["image"], samples.get("y"))
    metrics = measure(problem, models, samples["image"], seen, download=config.download)
    metrics |= {"seconds": seconds, "images_per_second": count / seconds}
    save_tensors(config.save, folder, {"image": samples["image"], **({"y": samples["y"]} if "y" in samples else {})})
    save_metadata(folder / "metadata.jsonl", names, problem, models, asked["seed"].tolist(), samples["image"], seen)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    levels = sampling.sampler.levels()
    steps = [levels[place] for place in sampling.sampler.evenly_spread(_FRAMES[config.trajectory])]
    pictures = save_pictures(folder, config, problem, models, samples, seen, steps)
    job = f"sample {config.task}"
    group = models.run.title if models.run else "samples"
    with tracking(config.get("logger"), folder, config=config, group=group, job=job) as loggers:
        track(loggers, folder, metrics, models.readout)
    store.close()
    log.info("%d images in %s: %s", len(names), folder, ", ".join(path.name for path in pictures))
    log.info("%s", "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    if problem.edited is not None:
        success = took(problem, models, seen[-1])
        log.info("%d of %d edits took, by %s", success.sum(), len(success), seen[-1].by)
    if found := looks(metrics):
        broken = any(fault.broken for fault in found)
        log.log(logging.WARNING if broken else logging.INFO, "%s%s", verdict(found), _advice(config) if broken else "")
    return metrics


def _advice(config: DictConfig) -> str:
    """What may keep pictures whole."""
    guidance = config.guidance or {}
    if guidance.get("exact"):
        way = "guidance.exact=false"
    elif guidance.get("bound"):
        way = f"guidance.bound below {guidance.bound}"
    else:
        way = "guidance=nlbp_bounded"
    return f" Try {way}{', or set less' if config.task in ('edit', 'generate') else ''}."


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


def check_options(config: DictConfig) -> None:
    """Raise InputError for what would else come to light only after models are loaded, or after sampling."""
    check_precision(config.trainer)
    if config.trajectory not in _FRAMES:
        raise InputError(f"a trajectory is drawn as strip or gif (null: not at all), not {config.trajectory!r}.")
    if config.save not in ("safetensors", "npz", None):
        raise InputError(f"samples are saved as safetensors or npz (null: as PNG alone), not {config.save!r}.")
    check_counts(config, "batch_size", "n_per_target", "shown")
    check_seed(config.seed)
    if config.first < 0 or (config.count is not None and config.count < 1):
        raise InputError(f"`first` must be at least 0 and `count` at least 1, got {config.first} and {config.count}.")
