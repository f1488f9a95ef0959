"""Sample images for a task: prepare the request, draw the samples, and write the results of `sample.py`."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from omegaconf import DictConfig
from torch import Tensor

from spnn.configs import instantiate
from spnn.diffusion.guidance import Guidance
from spnn.diffusion.sampler import Sampler
from spnn.errors import InputError, counted
from spnn.metrics import Fault
from spnn.outputs import outputs_of
from spnn.processes import rank
from spnn.runs import alone_in, check_results_folder
from spnn.sampling.drawn import Drawn, look_at
from spnn.sampling.generate import Request, check_common, check_guidance, generate, seeds
from spnn.sampling.models import Models, load_models, need_operator
from spnn.sampling.results import save_metadata, save_tensors, save_trajectory, track
from spnn.sampling.store import SampleStore
from spnn.sampling.tasks import Problem, pose
from spnn.saving import save_json
from spnn.settings import at_work
from spnn.sweeps import format_metric
from spnn.tracking import tracking

__all__ = ["check_options", "prepare", "request", "sample", "say"]

log = logging.getLogger(__name__)

_FRAMES = {None: 0, "strip": 10, "gif": 50}
_SHOWN = {  # metrics that are logged at the end; the others are in metrics.json
    "agreement": "agreement with the target by g %",
    "judge_agreement": "by the judge %",
    "judge_balanced_agreement": "balanced %",
    "gap": "gap",
    "psnr": "PSNR",
    "saturated": "black or white %",
    "images_per_second": "images per second",
}
_FEW_STEPS = 15  # with fewer steps, no solver gets far


def prepare(
    config: DictConfig,
    models: Models,
    *,
    problem: Problem | None = None,
    images: Tensor | None = None,
    guidance: Callable[..., Guidance | None] | None = None,
) -> tuple[Problem, Request]:
    """Pose ``config.task``, and check that it can be sampled, without writing anything.

    Arguments:
        config: The config of ``sample.py``, see :func:`check_options`.
        models: The models to work with.
        problem: A problem to take instead of posing the config's.
        images: The user's own images, [N, C, H, W] in [-1, 1], instead of those that the config names.
        guidance: Makes the guidance for a batch of targets, instead of ``config.guidance``.

    Returns:
        The N targets, and the samples to draw, one or more for each target.

    Raises:
        InputError: If an option, an image or a name is missing or unknown.
    """
    problem = problem or pose(config, models, lambda given: outputs_of(need_operator(models), given), images)
    if guidance is not None and problem.y is None:
        raise InputError(f"task={config.task} has no target, so guidance has nothing to do: leave `guidance` out.")
    sampler = instantiate(config.sampler, schedule=models.prior.schedule)
    asked = request(config, problem, guidance or instantiate(config.guidance), sampler)
    check_guidance(models, asked)
    return problem, asked


def request(
    config: DictConfig, problem: Problem, guidance: Callable[..., Guidance | None], sampler: Sampler | None
) -> Request:
    """Request ``config.n_per_target`` samples of each target."""
    copies = config.n_per_target
    y = None if problem.y is None else problem.y.repeat_interleave(copies, 0)
    images = None if sampler is None or sampler.start is None else problem.images
    if copies > 1 and images is not None:
        images = images.repeat_interleave(copies, 0)
    return Request(
        guidance,
        problem.names if copies == 1 else [f"{name}_{copy}" for name in problem.names for copy in range(copies)],
        seeds(config.seed + config.first, len(problem.names), copies, len(problem.labels)).flatten(),
        y,
        None if problem.free is None or y is None else problem.free.expand_as(y),
        sampler,
        images,
        _FRAMES[config.trajectory],
    )


@at_work
def sample(config: DictConfig, folder: str | Path) -> dict[str, float]:
    """Carry out ``config.task`` in a folder; return the metrics of the samples.

    The folder gets a PNG per image, ``grid.png``, ``metadata.jsonl``, ``metrics.json``, ``samples.safetensors`` and
    ``sample.yaml``. If sampling with the same options was interrupted there, it is continued; any other results in the
    folder are moved to a folder named after their time.

    Raises:
        InputError: If an option, a model, an image or a name is missing or unknown.
    """
    check_options(config)
    folder = check_results_folder(folder, marker="sample.yaml")
    models = load_models(config)
    problem, asked = prepare(config, models)
    with alone_in(folder) if rank() == 0 else nullcontext():
        return _sample_into(folder, config, models, problem, asked)


def _sample_into(
    folder: Path, config: DictConfig, models: Models, problem: Problem, asked: Request
) -> dict[str, float]:
    store, count = SampleStore(folder, asked.names), len(asked.names)
    continues = store.open(config, "sample.yaml", asked.rows() | {"weights": models.fingerprint()})
    missing = len(store.missing())
    if continues:
        log.info("%s: continuing; %d of %d images are there", folder, count - missing, count)
    start = time.perf_counter()
    if not generate(models, asked, store, config, config.task):
        return {}
    seconds = time.perf_counter() - start
    samples = store.collect()
    drawn = look_at(samples["image"], problem, models, download=config.download)
    metrics = drawn.metrics | {"seconds": seconds, "images_per_second": missing / seconds}
    outputs = {} if drawn.outputs is None else {"y": drawn.outputs}
    save_tensors(config.save, folder, {"image": drawn.images, **outputs})
    save_metadata(folder / "metadata.jsonl", asked.names, asked.seeds.tolist(), drawn)
    save_json(metrics, folder / "metrics.json")
    pictures = [folder / "grid.png"]
    drawn.save_overview(pictures[0], config.shown)
    if config.trajectory is not None:
        levels, places = asked.drawn_by.levels(), asked.drawn_by.evenly_spread(asked.frames)
        steps = [levels[place] for place in places]
        pictures.append(save_trajectory(config.trajectory, folder, samples["frames"], steps, drawn))
    group, job = models.run.title if models.run else "samples", f"sample {config.task}"
    with tracking(config.get("logger"), folder, config=config, group=group, job=job) as loggers:
        track(loggers, folder, metrics, asked.names, drawn)
    store.close()
    log.info("%s in %s: %s", counted(count, "image"), folder, ", ".join(path.name for path in pictures))
    say(drawn, metrics, config)
    return metrics


def say(drawn: Drawn, metrics: Mapping[str, float], config: DictConfig) -> None:
    """Log a summary: some figures, which edits took and what else changed, and whether the pictures are whole."""
    figures = []
    for name, title in _SHOWN.items():
        if name in metrics:
            per_cent = " %" if title.endswith("%") else ""
            figures.append(f"{title.removesuffix(' %')} {format_metric(metrics[name], title)}{per_cent}")
    log.info("%s", "; ".join(figures))
    for sentence in drawn.in_words():
        log.info("%s", sentence)
    if drawn.faults:
        broken = any(fault.broken for fault in drawn.faults)
        log.log(logging.WARNING if broken else logging.INFO, "%s%s", drawn.verdict, _advice(config, drawn.faults))


def _advice(config: DictConfig, faults: Sequence[Fault]) -> str:
    """Advice on how to keep pictures whole."""
    guidance = config.guidance or {}
    if config.task == "unconditional" or "_target_" not in guidance:
        return " That is the prior's: train it for longer."
    if all(fault.blurred for fault in faults):
        return " Where task=unconditional draws such pictures, too, the prior needs longer training."
    if guidance.get("exact"):
        way = "guidance.exact=false"
    elif config.sampler.steps < _FEW_STEPS:
        way = "more steps (sampler.steps=50)"
    elif not guidance.get("bound"):
        way = "guidance=nlbp_bounded"
    else:
        way = f"guidance.bound below {guidance['bound']}"
    return f" Try {way}{', or set less' if config.task in ('edit', 'generate') else ''}."


def check_options(config: DictConfig) -> None:
    """Raise InputError for mistakes that would otherwise come to light only after loading the models or sampling."""
    check_common(config, "n_per_target")
    if config.trajectory not in _FRAMES:
        raise InputError(f"a trajectory is drawn as strip or gif (null: not at all), not {config.trajectory!r}.")
    if config.save not in ("safetensors", "npz", None):
        raise InputError(f"samples are saved as safetensors or npz (null: as PNG alone), not {config.save!r}.")
    if config.first < 0 or (config.count is not None and config.count < 1):
        raise InputError(f"`first` must be at least 0 and `count` at least 1, got {config.first} and {config.count}.")
