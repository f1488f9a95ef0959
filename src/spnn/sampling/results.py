"""What a sampling leaves beside its PNGs: tensors, a line of metadata per sample, metrics, pictures."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import Tensor

from spnn.errors import InputError
from spnn.metrics import agreement_with, broken, measurement_metrics, pixel_metrics
from spnn.outputs import outputs_of
from spnn.readout import Readout
from spnn.sampling.models import Models
from spnn.sampling.pictures import save_animation, save_grid, save_strip
from spnn.sampling.tasks import Problem
from spnn.tracking import log_picture, log_table

__all__ = ["described", "fault", "measure", "save_metadata", "save_overview", "save_pictures", "save_tensors", "track"]

_LOGGED = 200  # samples in a logged table


def measure(
    problem: Problem, models: Models, x: Tensor, y: Tensor | None, *, download: bool = False
) -> dict[str, float]:
    """Metrics of samples ``x`` [M, C, H, W], as many for each target, whose outputs are ``y``.

    The judge's targets are its own predictions on the source image, except for edited attributes.
    ``download`` says whether a metric may download its network.
    """
    metrics = dict(pixel_metrics(x))
    if problem.images is not None:  # what they are to be held against
        given = pixel_metrics(problem.images)
        metrics |= {f"given_{name}": given[name] for name in ("saturated", "fine_energy")}
    if problem.y is None:
        return metrics
    per_target = len(x) // len(problem.names)
    wanted = problem.y.repeat_interleave(per_target, 0)
    if models.attributes is None:
        clean = problem.images.repeat_interleave(per_target, 0) if problem.clean else None
        return {**measurement_metrics(y, wanted, x, clean, download=download), **metrics}
    metrics |= agreement_with(y, wanted, problem.free, problem.edited, models.readout)
    if models.judge is not None:
        seen = problem.y
        if problem.images is not None:
            seen = outputs_of(models.judge, problem.images)
            if problem.edited is not None:
                seen = torch.where(problem.edited, problem.y, seen)
        judged = agreement_with(
            outputs_of(models.judge, x),
            seen.repeat_interleave(per_target, 0),
            problem.free,
            problem.edited,
            models.readout,
        )
        metrics |= {f"judge_{name}": value for name, value in judged.items()}
    return metrics


def fault(metrics: Mapping[str, float]) -> str | None:
    """What is wrong with the samples as pictures, beside the given images, in words; None if nothing is."""
    if "given_saturated" not in metrics:
        return None
    return "; ".join(broken(metrics, {name: metrics[f"given_{name}"] for name in ("saturated", "fine_energy")})) or None


def save_tensors(kind: str | None, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as ``samples.safetensors`` or ``samples.npz``; nothing for None.

    Raises:
        InputError: If the kind is another.
    """
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "samples.safetensors")
    elif kind == "npz":
        np.savez(folder / "samples.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif kind is not None:
        raise InputError(f"samples are saved as safetensors or npz (null: as PNG alone), not {kind!r}.")


def save_metadata(
    path: Path, names: Sequence[str], problem: Problem, models: Models, seeds: Sequence[int], y: Tensor | None
) -> None:
    """Write a line of JSON per sample: its PNG, target and seed, and the outputs wanted and achieved."""
    per_target = len(names) // len(problem.names)
    with path.open("w") as file:
        for i, name in enumerate(names):
            target = i // per_target
            line = {"image": f"{name}.png", "target_of": problem.names[target], "seed": seeds[i]}
            if problem.y is not None and models.attributes is not None:
                free = [False] * len(models.attributes) if problem.free is None else problem.free.tolist()
                wanted = [None if any_ else value for value, any_ in zip(problem.y[target].tolist(), free, strict=True)]
                line["target"] = dict(zip(models.attributes, wanted, strict=True))
                line["achieved"] = dict(zip(models.attributes, y[i].tolist(), strict=True))
            elif problem.y is not None:
                line["gap"] = (y[i] - problem.y[target]).abs().mean().item()
            file.write(json.dumps(line) + "\n")


def save_pictures(
    folder: Path, config: DictConfig, problem: Problem, models: Models, samples: Mapping[str, Tensor], steps: list[int]
) -> list[Path]:
    """Draw ``grid.png``, and the trajectory if wanted; return the files.

    Arguments:
        folder: Where to.
        config: Of ``sample.py``.
        problem: What was wanted.
        models: Who knows the attributes' names.
        samples: ``image`` [M, C, H, W], ``y`` [M, ...] if there is an operator, ``frames`` [M, F, C, H, W] if kept.
        steps: The F steps of the frames.
    """
    files = [folder / "grid.png"]
    save_overview(files[0], problem, models, samples, config.shown)
    per_target = len(samples["image"]) // len(problem.names)
    few = min(len(samples["image"]), 8)
    if config.trajectory == "strip":
        files.append(folder / "trajectory.png")
        names = [problem.names[i // per_target] for i in range(few)]
        save_strip(samples["frames"][:few], steps, [f"{name} ({i})" for i, name in enumerate(names)], files[-1])
    elif config.trajectory == "gif":
        files.append(folder / "trajectory.gif")
        save_animation(samples["frames"][:few], files[-1])
    return files


def save_overview(
    file: Path | BinaryIO, problem: Problem, models: Models, samples: Mapping[str, Tensor], most: int
) -> None:
    """Draw the targets' pictures and the samples, of ``most`` targets, as a PNG; arguments as :func:`save_pictures`."""
    shown = min(len(problem.names), most)
    per_target = len(samples["image"]) // len(problem.names)
    by_target = samples["image"].unflatten(0, (-1, per_target))[:shown]
    labels = [problem.label] if per_target == 1 else [f"{problem.label} {i + 1}" for i in range(per_target)]
    rows = {label: images[:shown] for label, images in problem.rows.items()}
    rows |= {label: by_target[:, i] for i, label in enumerate(labels)}
    save_grid(rows, _captions(problem, models, samples, per_target)[:shown], file)


def _captions(problem: Problem, models: Models, samples: Mapping[str, Tensor], per_target: int) -> list[str]:
    """A text under each target: how much of it was achieved, on average over its samples."""
    if problem.y is None:
        return problem.names
    wanted, y = problem.y, samples["y"].unflatten(0, (-1, per_target))
    if models.attributes is None:
        gaps = (y - wanted[:, None]).abs().flatten(1).mean(1)
        return [f"{name}\ngap {gap:.1e}" for name, gap in zip(problem.names, gaps.tolist(), strict=True)]
    counts = torch.ones(wanted.shape[1], dtype=torch.bool) if problem.free is None else ~problem.free
    decode = models.readout.decode
    agree = models.readout.agrees(decode(y), decode(wanted)[:, None])[..., counts].float().mean((1, 2)) * counts.sum()
    return [f"{count:.3g}/{int(counts.sum())} agree" for count in agree.tolist()]


def track(loggers: Sequence[Logger], folder: Path, metrics: Mapping[str, float], readout: Readout) -> None:
    """Show loggers what a sampling left in its folder: metrics, the grid, and a table of samples."""
    for logger in loggers:
        logger.log_metrics(dict(metrics))
    log_picture(loggers, "grid", folder / "grid.png")
    rows = []
    with (folder / "metadata.jsonl").open() as file:
        for line in islice(map(json.loads, file), _LOGGED):
            target, achieved = line.pop("target", {}), line.pop("achieved", {})
            rows.append({**line, "image": folder / line["image"], **described(readout, target, achieved)})
    log_table(loggers, "samples", rows)


def described(
    readout: Readout, target: Mapping[str, float | None], achieved: Mapping[str, float]
) -> dict[str, str | float]:
    """Wanted and achieved outputs in words, and those that differ; a wanted one of None was free."""
    if not target:
        return {}
    fixed = {name: y for name, y in target.items() if y is not None}
    found, wanted = (readout.decode(torch.tensor([of[name] for name in fixed])) for of in (achieved, fixed))
    missed = [name for name, right in zip(fixed, readout.agrees(found, wanted).tolist(), strict=True) if not right]
    return {
        "target": readout.words(fixed),
        "achieved": readout.words(achieved),
        "missed": ", ".join(missed),
        "agreement": 1 - len(missed) / len(fixed) if fixed else 1.0,
    }
