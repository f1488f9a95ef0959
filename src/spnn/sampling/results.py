"""What a sampling leaves beside its PNGs: tensors, a line of JSON per sample, pictures; and what loggers get of it."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from safetensors.torch import save_file
from torch import Tensor

from spnn.metrics import fine_energy, saturated
from spnn.readout import Readout
from spnn.sampling.drawn import Drawn
from spnn.sampling.pictures import save_animation, save_strip
from spnn.saving import to_json
from spnn.tracking import log_picture, log_table

__all__ = ["described", "save_metadata", "save_tensors", "save_trajectory", "track"]

_LOGGED = 200  # samples in a logged table
_OTHER_OUTPUTS = ("given", "judge", "judge_given")


def save_tensors(kind: str | None, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as ``samples.safetensors`` or ``samples.npz``; nothing for None."""
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "samples.safetensors")
    elif kind == "npz":
        np.savez(folder / "samples.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})


def save_metadata(path: Path, names: Sequence[str], seeds: Sequence[int], drawn: Drawn) -> None:
    """Write a line of JSON per sample: its PNG, target and seed; the outputs given, wanted and achieved, and what the
    judge sees; of an edit what was set, whether it took, what failed and what else changed, by the judge; how whole the
    picture is."""
    problem, labels, took = drawn.problem, drawn.models.readout.names, drawn.took
    failed = changed = None
    if took is not None:
        failed, changed = ~drawn.seen[-1].right & problem.edited, drawn.seen[-1].changed(problem.edited)
    whole = {"saturated": saturated(drawn.images), "fine_energy": fine_energy(drawn.images)}
    with path.open("w", encoding="utf-8") as file:
        for i, name in enumerate(names):
            target = i // drawn.per_target
            line = {"image": f"{name}.png", "target_of": problem.names[target], "seed": seeds[i]}
            if drawn.seen and labels:
                free = [False] * len(labels) if problem.free is None else problem.free.tolist()
                wanted = [None if any_ else value for value, any_ in zip(problem.y[target].tolist(), free, strict=True)]
                line["target"] = dict(zip(labels, wanted, strict=True))
                for view in drawn.seen:
                    seen = {"judge" if view.prefix else "achieved": view.found, f"{view.prefix}given": view.given}
                    line |= {k: dict(zip(labels, y[i].tolist(), strict=True)) for k, y in seen.items() if y is not None}
                if took is not None:
                    line["set"] = {name: line["target"][name] for name in _chosen(labels, problem.edited)}
                    line |= {"took": took[i].item(), "failed": _chosen(labels, failed[i])}
                if changed is not None:
                    line["changed"] = _chosen(labels, changed[i])
            elif drawn.seen:
                line["gap"] = (drawn.outputs[i] - problem.y[target]).abs().mean().item()
            line |= {name: values[i].item() for name, values in whole.items()}
            file.write(to_json(line) + "\n")


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
    with (folder / "metadata.jsonl").open(encoding="utf-8") as file:
        for line in islice(map(json.loads, file), _LOGGED):
            target, achieved, *others = (line.pop(key, {}) for key in ("target", "achieved", *_OTHER_OUTPUTS))
            sees = {key: readout.words(y) for key, y in zip(_OTHER_OUTPUTS, others, strict=True) if y}
            listed = {key: ", ".join(line.pop(key)) for key in ("set", "failed", "changed") if key in line}
            words = described(readout, target, achieved)
            rows.append({**line, "image": folder / line["image"], **words, **sees, **listed})
    log_table(loggers, "samples", rows)


def _chosen(names: Sequence[str], mask: Tensor) -> list[str]:
    return [name for name, chosen in zip(names, mask.tolist(), strict=True) if chosen]


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
