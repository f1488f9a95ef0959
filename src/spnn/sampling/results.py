"""What sampling writes beside the PNGs (tensors, a line of JSON per sample, pictures), and what it logs."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

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


def save_tensors(kind: str | None, folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as ``samples.safetensors`` or ``samples.npz``; write nothing if ``kind`` is None."""
    if kind == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "samples.safetensors")
    elif kind == "npz":
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
        np.savez(folder / "samples.npz", **arrays)


def save_metadata(path: Path, names: Sequence[str], seeds: Sequence[int], drawn: Drawn) -> None:
    """Write a line of JSON per sample: its PNG, target and seed; the given, wanted and achieved outputs, in the units
    that users set them in, and what the judge sees; for an edit, what was set, whether it took, what failed and what
    else changed, by the judge; and how whole the picture is."""
    problem, readout, edits = drawn.problem, drawn.models.readout, _edits(drawn)
    labels = readout.names
    whole = {"saturated": saturated(drawn.images), "fine_energy": fine_energy(drawn.images)}
    with path.open("w", encoding="utf-8") as file:
        for i, name in enumerate(names):
            target = i // drawn.per_target
            line: dict[str, Any] = {"image": f"{name}.png", "target_of": problem.names[target], "seed": seeds[i]}
            if problem.y is not None and labels:
                rows = {"target": _fixed(problem.y[target], problem.free), **_seen(drawn, i)}
                for key, y in rows.items():
                    values = [None if value != value else value for value in readout.shown(y).tolist()]
                    line[key] = dict(zip(labels, values, strict=True))
                line |= edits[i]
            elif problem.y is not None and drawn.outputs is not None:
                line["gap"] = (drawn.outputs[i] - problem.y[target]).abs().mean().item()
            line |= {name: values[i].item() for name, values in whole.items()}
            file.write(to_json(line) + "\n")


def _edits(drawn: Drawn) -> list[dict[str, Any]]:
    """What was set for each sample, whether it took, what failed, and what else changed; empty if nothing was set."""
    problem, readout, edited = drawn.problem, drawn.models.readout, drawn.problem.edited
    if edited is None or problem.y is None:
        return [{} for _ in drawn.images]
    view = drawn.seen[-1]
    took, failed, changed = view.took(edited), ~view.right & edited, view.changed(edited)
    found: list[dict[str, Any]] = []
    for i in range(len(took)):
        set_ = readout.chosen(problem.y[i // drawn.per_target], edited)
        found.append({"set": set_, "took": took[i].item(), "failed": readout.listed(failed[i])})
        if changed is not None:
            found[-1]["changed"] = readout.listed(changed[i])
    return found


def save_trajectory(kind: str, folder: Path, frames: Tensor, steps: Sequence[int], drawn: Drawn) -> Path:
    """Draw how the first samples took shape, as ``trajectory.png`` (a strip) or ``trajectory.gif``; return the file.

    Arguments:
        kind: ``strip`` or ``gif``.
        folder: The folder to write it to.
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


def track(
    loggers: Sequence[Logger], folder: Path, metrics: Mapping[str, float], names: Sequence[str], drawn: Drawn
) -> None:
    """Log what sampling wrote to its folder: the metrics, the grid, and a table of the samples."""
    for logger in loggers:
        logger.log_metrics(dict(metrics))
    log_picture(loggers, "grid", folder / "grid.png")
    rows = []
    with (folder / "metadata.jsonl").open(encoding="utf-8") as file:
        for i, line in enumerate(islice(map(json.loads, file), _LOGGED)):
            listed = {key: ", ".join(line.pop(key)) for key in ("set", "failed", "changed") if key in line}
            words: dict[str, str | float] = {}
            if drawn.problem.y is not None and drawn.models.readout.names:
                rows_ = _seen(drawn, i)
                target = drawn.problem.y[i // drawn.per_target]
                words = described(drawn.models.readout, target, rows_.pop("achieved"), drawn.problem.free)
                words |= {key: drawn.models.readout.words(y) for key, y in rows_.items()}
            plain = {key: value for key, value in line.items() if not isinstance(value, dict)}
            rows.append({**plain, "image": folder / line["image"], **words, **listed})
    log_table(loggers, "samples", rows)


def _fixed(y: Tensor, free: Tensor | None) -> Tensor:
    """The targets, with NaN where they were free."""
    return y if free is None else y.masked_fill(free, torch.nan)


def _seen(drawn: Drawn, sample: int) -> dict[str, Tensor]:
    """What each network sees in a sample, and saw in the given image, [K] each."""
    rows: dict[str, Tensor] = {}
    for view in drawn.seen:
        views = {"judge" if view.prefix else "achieved": view.found, f"{view.prefix}given": view.given}
        rows |= {key: y[sample] for key, y in views.items() if y is not None}
    return rows


def described(readout: Readout, target: Tensor, achieved: Tensor, free: Tensor | None) -> dict[str, str | float]:
    """Describe wanted and achieved outputs [K] in words, with those that differ, leaving out those that were free."""
    target = _fixed(target, free)
    fixed = ~target.isnan()
    missed = ~readout.agrees(readout.decode(achieved), readout.decode(target)) & fixed
    return {
        "target": readout.words(target),
        "achieved": readout.words(achieved),
        "missed": ", ".join(readout.listed(missed)),
        "agreement": 1 - (missed.sum() / fixed.sum()).item() if fixed.any() else 1.0,
    }
