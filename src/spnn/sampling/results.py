"""What was drawn: what networks see in it, metrics, and what a sampling leaves beside its PNGs."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from safetensors.torch import save_file
from torch import Tensor

from spnn.metrics import Fault, agreement_with, faults, fine_energy, measurement_metrics, pixel_metrics, saturated
from spnn.outputs import outputs_of
from spnn.readout import Readout
from spnn.sampling.models import Models
from spnn.sampling.pictures import save_animation, save_grid, save_strip
from spnn.sampling.tasks import Problem
from spnn.tracking import log_picture, log_table

__all__ = [
    "Drawn",
    "View",
    "described",
    "look_at",
    "looks",
    "save_metadata",
    "save_tensors",
    "save_trajectory",
    "track",
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


@dataclass(frozen=True, repr=False)
class Drawn:
    """Samples, and what they were drawn for. A notebook shows them as a picture.

    Attributes:
        images: The samples, [M, C, H, W], about in [-1, 1]; as many of each target, one target after the other.
        outputs: The operator's outputs of them, [M, ...]; None without an operator.
        problem: What was wanted: ``problem.y`` [N, ...], and which of it was ``free`` or ``edited``.
        metrics: As in ``metrics.json`` of ``sample.py``: agreement, wholeness, gaps.
        models: What they were drawn with.
        seen: What the operator and the judge, if there is one, see in them; empty if nothing was wanted.
    """

    images: Tensor
    outputs: Tensor | None
    problem: Problem
    metrics: dict[str, float]
    models: Models
    seen: Sequence[View]

    @property
    def per_target(self) -> int:
        """Samples of each target."""
        return len(self.images) // len(self.problem.names)

    @property
    def took(self) -> Tensor | None:
        """Whether all that was set of each sample is there, by the last of ``seen``, [M]; None if nothing was set."""
        edited, readout = self.problem.edited, self.models.readout
        if edited is None:
            return None
        found, wanted = (readout.decode(y[:, edited]) for y in (self.seen[-1].found, self.seen[-1].wanted))
        return readout.agrees(found, wanted).all(1)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        return f"Drawn({len(self.images)} images of {tuple(self.images.shape[1:])}: {metrics})"

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.save_overview(file)
        return file.getvalue()

    def save_overview(self, file: Path | BinaryIO, most: int = 16) -> None:
        """Draw the targets' pictures and the samples, of ``most`` targets, as a PNG."""
        problem = self.problem
        by_target, label = self.images.unflatten(0, (-1, self.per_target)), problem.label
        labels = [label] if self.per_target == 1 else [f"{label}\nsample {i + 1}" for i in range(self.per_target)]
        rows = problem.rows | {label: by_target[:, i] for i, label in enumerate(labels)}
        save_grid({label: images[:most] for label, images in rows.items()}, self._captions()[:most], file)

    def _captions(self) -> list[str]:
        """A text under each target: how much of it was achieved, on average over its samples."""
        problem, readout, by_target = self.problem, self.models.readout, (-1, self.per_target)
        if not self.seen:
            return problem.names
        view = self.seen[-1]
        if self.models.attributes is None:
            gaps = (view.found - view.wanted).abs().flatten(1).mean(1).unflatten(0, by_target).mean(1)
            return [f"{name}\ngap {gap:.1e}" for name, gap in zip(problem.names, gaps.tolist(), strict=True)]
        counts = torch.ones(view.wanted.shape[1], dtype=torch.bool) if problem.free is None else ~problem.free
        right = readout.agrees(readout.decode(view.found), readout.decode(view.wanted))[:, counts]
        means = right.sum(1).unflatten(0, by_target).double().mean(1).tolist()
        captions = [f"{count:.3g} of {int(counts.sum())} agree" for count in means]
        if (took := self.took) is not None:
            of_each = took.unflatten(0, by_target).sum(1).tolist()
            alone = self.per_target == 1
            words = [("took" if n else "failed") if alone else f"{n} took" for n in of_each]
            captions = [f"{word},\n{text}" for word, text in zip(words, captions, strict=True)]
        return [f"{text}\nby {view.by}" for text in captions]


def look_at(images: Tensor, problem: Problem, models: Models, *, download: bool = False) -> Drawn:
    """What came of a problem: samples [M, C, H, W], as many for each target; a metric may ``download`` its network."""
    outputs = None if models.operator is None else outputs_of(models.operator, images)
    seen = _views(images, outputs, problem, models)
    metrics = pixel_metrics(images)
    if problem.images is not None:  # what they are to be held against
        given = pixel_metrics(problem.images)
        metrics = metrics | {f"given_{name}": given[name] for name in ("saturated", "fine_energy")}
    if seen and models.attributes is None:
        clean = problem.images.repeat_interleave(len(images) // len(problem.names), 0) if problem.clean else None
        metrics = measurement_metrics(seen[0].found, seen[0].wanted, images, clean, download=download) | metrics
    elif seen:
        for view in seen:
            agreement = agreement_with(view.found, view.wanted, problem.free, problem.edited, models.readout)
            metrics = metrics | {f"{view.prefix}{name}": value for name, value in agreement.items()}
    return Drawn(images, outputs, problem, metrics, models, seen)


def _views(images: Tensor, outputs: Tensor | None, problem: Problem, models: Models) -> list[View]:
    """The judge's targets are its own predictions on the source image, except for edited attributes."""
    if problem.y is None:
        return []
    per_target = len(images) // len(problem.names)
    views = [View("g", "", outputs, problem.y.repeat_interleave(per_target, 0))]
    if models.judge is not None and models.attributes is not None:
        seen = problem.y
        if problem.images is not None:
            seen = outputs_of(models.judge, problem.images)
            if problem.edited is not None:
                seen = torch.where(problem.edited, problem.y, seen)
        judged = outputs_of(models.judge, images)
        views.append(View("the judge", "judge_", judged, seen.repeat_interleave(per_target, 0)))
    return views


def looks(metrics: Mapping[str, float]) -> list[Fault]:
    """What sets samples apart from the given images, as pictures."""
    if "given_saturated" not in metrics:
        return []
    given = {name: metrics[f"given_{name}"] for name in ("saturated", "fine_energy")}
    return faults(metrics, given, of="the given images")


def save_tensors(kind: str | None, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as ``samples.safetensors`` or ``samples.npz``; nothing for None."""
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "samples.safetensors")
    elif kind == "npz":
        np.savez(folder / "samples.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})


def save_metadata(path: Path, names: Sequence[str], seeds: Sequence[int], drawn: Drawn) -> None:
    """Write a line of JSON per sample: its PNG, target and seed; the outputs wanted and achieved, what the judge sees,
    and whether an edit took by it; how whole the picture is."""
    problem, attributes, took = drawn.problem, drawn.models.attributes, drawn.took
    whole = {"saturated": saturated(drawn.images), "fine_energy": fine_energy(drawn.images)}
    with path.open("w") as file:
        for i, name in enumerate(names):
            target = i // drawn.per_target
            line = {"image": f"{name}.png", "target_of": problem.names[target], "seed": seeds[i]}
            if drawn.seen and attributes is not None:
                free = [False] * len(attributes) if problem.free is None else problem.free.tolist()
                wanted = [None if any_ else value for value, any_ in zip(problem.y[target].tolist(), free, strict=True)]
                line["target"] = dict(zip(attributes, wanted, strict=True))
                for view in drawn.seen:
                    key = "judge" if view.prefix else "achieved"
                    line[key] = dict(zip(attributes, view.found[i].tolist(), strict=True))
                if took is not None:
                    line["took"] = took[i].item()
            elif drawn.seen:
                line["gap"] = (drawn.outputs[i] - problem.y[target]).abs().mean().item()
            line |= {name: values[i].item() for name, values in whole.items()}
            file.write(json.dumps(line) + "\n")


def save_trajectory(kind: str, folder: Path, frames: Tensor, steps: Sequence[int], drawn: Drawn) -> Path:
    """Draw how the first samples came about, as ``trajectory.png`` (a strip) or ``trajectory.gif``; return the file.

    Arguments:
        kind: ``strip`` or ``gif``.
        folder: Where to.
        frames: The clean images at some steps, [M, F, C, H, W].
        steps: The F steps.
        drawn: The samples.
    """
    frames = frames[:8]
    if kind == "gif":
        save_animation(frames, folder / "trajectory.gif")
        return folder / "trajectory.gif"
    names = [f"{drawn.problem.names[i // drawn.per_target]} ({i})" for i in range(len(frames))]
    save_strip(frames, steps, names, folder / "trajectory.png")
    return folder / "trajectory.png"


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
