"""What a sampling leaves beside its PNGs: tensors, a line of metadata per sample, metrics, pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from spnn.metrics import Fault, agreement_with, faults, fine_energy, measurement_metrics, pixel_metrics, saturated
from spnn.outputs import outputs_of
from spnn.readout import Readout
from spnn.sampling.models import Models
from spnn.sampling.pictures import save_animation, save_grid, save_strip
from spnn.sampling.tasks import Problem
from spnn.tracking import log_picture, log_table

__all__ = [
    "View",
    "described",
    "looks",
    "measure",
    "save_metadata",
    "save_overview",
    "save_pictures",
    "save_tensors",
    "took",
    "track",
    "views",
]

_LOGGED = 200  # samples in a logged table


@dataclass(frozen=True)
class View:
    """What a network sees in M samples.

    Attributes:
        by: What the network is called.
        prefix: Of its metrics' names.
        found: Its outputs of the samples, [M, ...].
        wanted: What they should be, [M, ...].
    """

    by: str
    prefix: str
    found: Tensor
    wanted: Tensor


def views(problem: Problem, models: Models, x: Tensor, y: Tensor | None) -> list[View]:
    """What the operator, whose outputs are ``y``, and the judge, if there is one, see in samples ``x`` [M, C, H, W], as
    many for each target; empty if nothing was wanted.

    The judge's targets are its own predictions on the source image, except for edited attributes.
    """
    if problem.y is None:
        return []
    per_target = len(x) // len(problem.names)
    found = [View("g", "", y, problem.y.repeat_interleave(per_target, 0))]
    if models.judge is not None and models.attributes is not None:
        seen = problem.y
        if problem.images is not None:
            seen = outputs_of(models.judge, problem.images)
            if problem.edited is not None:
                seen = torch.where(problem.edited, problem.y, seen)
        judged = outputs_of(models.judge, x)
        found.append(View("the judge", "judge_", judged, seen.repeat_interleave(per_target, 0)))
    return found


def measure(
    problem: Problem, models: Models, x: Tensor, seen: Sequence[View], *, download: bool = False
) -> dict[str, float]:
    """Metrics of samples ``x`` [M, C, H, W], as many for each target.

    Arguments:
        problem: What was wanted.
        models: What they were drawn with.
        x: The samples.
        seen: See :func:`views`.
        download: Whether a metric may download its network.
    """
    metrics = dict(pixel_metrics(x))
    if problem.images is not None:  # what they are to be held against
        given = pixel_metrics(problem.images)
        metrics |= {f"given_{name}": given[name] for name in ("saturated", "fine_energy")}
    if not seen:
        return metrics
    if models.attributes is None:
        clean = problem.images.repeat_interleave(len(x) // len(problem.names), 0) if problem.clean else None
        return {**measurement_metrics(seen[0].found, seen[0].wanted, x, clean, download=download), **metrics}
    for view in seen:
        agreement = agreement_with(view.found, view.wanted, problem.free, problem.edited, models.readout)
        metrics |= {f"{view.prefix}{name}": value for name, value in agreement.items()}
    return metrics


def took(problem: Problem, models: Models, view: View) -> Tensor | None:
    """Whether all that was set of each sample is there, [M]; None if nothing was set."""
    if problem.edited is None:
        return None
    found, wanted = (models.readout.decode(y[:, problem.edited]) for y in (view.found, view.wanted))
    return models.readout.agrees(found, wanted).all(1)


def looks(metrics: Mapping[str, float]) -> list[Fault]:
    """What sets samples apart from the given images, as pictures."""
    if "given_saturated" not in metrics:
        return []
    given = {name: metrics[f"given_{name}"] for name in ("saturated", "fine_energy")}
    return faults(metrics, given, of="the given images")


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
    path: Path,
    names: Sequence[str],
    problem: Problem,
    models: Models,
    seeds: Sequence[int],
    x: Tensor,
    seen: Sequence[View],
) -> None:
    """Write a line of JSON per sample: its PNG, target and seed; the outputs wanted and achieved, what the judge sees,
    and whether an edit took by it; how whole the picture is."""
    per_target, attributes = len(names) // len(problem.names), models.attributes
    whole = {"saturated": saturated(x), "fine_energy": fine_energy(x)}
    success = took(problem, models, seen[-1]) if seen else None
    with path.open("w") as file:
        for i, name in enumerate(names):
            target = i // per_target
            line = {"image": f"{name}.png", "target_of": problem.names[target], "seed": seeds[i]}
            if seen and attributes is not None:
                free = [False] * len(attributes) if problem.free is None else problem.free.tolist()
                wanted = [None if any_ else value for value, any_ in zip(problem.y[target].tolist(), free, strict=True)]
                line["target"] = dict(zip(attributes, wanted, strict=True))
                for view in seen:
                    key = "judge" if view.prefix else "achieved"
                    line[key] = dict(zip(attributes, view.found[i].tolist(), strict=True))
                if success is not None:
                    line["took"] = success[i].item()
            elif seen:
                line["gap"] = (seen[0].found[i] - problem.y[target]).abs().mean().item()
            line |= {name: values[i].item() for name, values in whole.items()}
            file.write(json.dumps(line) + "\n")


def save_pictures(
    folder: Path,
    config: DictConfig,
    problem: Problem,
    models: Models,
    samples: Mapping[str, Tensor],
    seen: Sequence[View],
    steps: list[int],
) -> list[Path]:
    """Draw ``grid.png``, and the trajectory if wanted; return the files.

    Arguments:
        folder: Where to.
        config: Of ``sample.py``.
        problem: What was wanted.
        models: Who knows the attributes' names.
        samples: ``image`` [M, C, H, W], ``frames`` [M, F, C, H, W] if kept.
        seen: See :func:`views`.
        steps: The F steps of the frames.
    """
    files = [folder / "grid.png"]
    save_overview(files[0], problem, models, samples["image"], seen, config.shown)
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
    file: Path | BinaryIO, problem: Problem, models: Models, x: Tensor, seen: Sequence[View], most: int
) -> None:
    """Draw the targets' pictures and the samples ``x`` [M, C, H, W], of ``most`` targets, as a PNG."""
    shown = min(len(problem.names), most)
    per_target = len(x) // len(problem.names)
    by_target = x.unflatten(0, (-1, per_target))[:shown]
    labels = [problem.label] if per_target == 1 else [f"{problem.label}\nsample {i + 1}" for i in range(per_target)]
    rows = {label: images[:shown] for label, images in problem.rows.items()}
    rows |= {label: by_target[:, i] for i, label in enumerate(labels)}
    save_grid(rows, _captions(problem, models, seen, per_target)[:shown], file)


def _captions(problem: Problem, models: Models, seen: Sequence[View], per_target: int) -> list[str]:
    """A text under each target: how much of it was achieved, on average over its samples."""
    if not seen:
        return problem.names
    if models.attributes is None:
        gaps = (seen[0].found - seen[0].wanted).abs().flatten(1).mean(1).unflatten(0, (-1, per_target)).mean(1)
        return [f"{name}\ngap {gap:.1e}" for name, gap in zip(problem.names, gaps.tolist(), strict=True)]
    view, decode = seen[-1], models.readout.decode
    counts = torch.ones(view.wanted.shape[1], dtype=torch.bool) if problem.free is None else ~problem.free
    right = models.readout.agrees(decode(view.found), decode(view.wanted))[:, counts].unflatten(0, (-1, per_target))
    captions = [f"{count:.3g} of {int(counts.sum())} agree" for count in right.sum(2).double().mean(1).tolist()]
    if (success := took(problem, models, view)) is not None:
        of_each = success.unflatten(0, (-1, per_target)).sum(1).tolist()
        words = ["took" if n else "failed" for n in of_each] if per_target == 1 else [f"{n} took" for n in of_each]
        captions = [f"{word}, {text}" for word, text in zip(words, captions, strict=True)]
    return [f"{text}\nby {view.by}" for text in captions]


def track(loggers: Sequence[Logger], folder: Path, metrics: Mapping[str, float], readout: Readout) -> None:
    """Show loggers what a sampling left in its folder: metrics, the grid, and a table of samples."""
    for logger in loggers:
        logger.log_metrics(dict(metrics))
    log_picture(loggers, "grid", folder / "grid.png")
    rows = []
    with (folder / "metadata.jsonl").open() as file:
        for line in islice(map(json.loads, file), _LOGGED):
            target, achieved, judge = (line.pop(key, {}) for key in ("target", "achieved", "judge"))
            sees = {"judge": readout.words(judge)} if judge else {}
            rows.append({**line, "image": folder / line["image"], **described(readout, target, achieved), **sees})
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
