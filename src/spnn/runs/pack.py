"""Pack a run to share it: all that sampling, editing and evaluation need, in half precision, with a model card."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from spnn.errors import InputError
from spnn.readout import Binary, Readout
from spnn.runs.record import read_status
from spnn.runs.run import Run, stages_of
from spnn.saving import save_json

__all__ = ["card", "pack"]

_RECONSTRUCTION = "evaluation/reconstruction/metrics.json"
_OF_A_MACHINE = ("host", "process", "job", "system")


def pack(run: Run, folder: str | Path) -> Path:
    """Copy a run without its checkpoints, pictures and samples, with 16 bits a weight and a card, ``README.md``.

    Arguments:
        run: The run; the models that it has trained are packed.
        folder: The folder to make; its last part becomes the run's name.

    Raises:
        InputError: If the folder already exists, or the run has trained nothing.
    """
    folder = Path(folder)
    rows = (stages_of(run.config, model) for model in ("surjection", "prior", "judge"))
    stages = [stage for row in rows for stage in [s for s in row if run.weights(s).exists()][:1]]  # the last of each
    if not stages:
        raise InputError(f"{run.folder} has trained nothing that could be packed.")
    if folder.exists():
        raise InputError(f"{folder} is there already: choose another folder, or delete it.")
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for stage in stages:
        (unfinished / stage).mkdir(parents=True)
        tensors = load_file(run.weights(stage))
        halves = {name: x.to(torch.float16) if x.is_floating_point() else x for name, x in tensors.items()}
        save_file(halves, unfinished / stage / "weights.safetensors")
    config = OmegaConf.merge(run.config, {"name": folder.name, "folder": folder.name, "stages": stages})
    OmegaConf.save(config, unfinished / "config.yaml")
    names = ["labels.json", "metrics.json", _RECONSTRUCTION]
    for file in [run.folder / name for name in names] + [run.training_outputs_file]:
        if file.exists():
            copy = unfinished / file.relative_to(run.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    if record := read_status(run.folder):
        for start in record["starts"]:
            start["environment"] |= dict.fromkeys(_OF_A_MACHINE)
        save_json(record, unfinished / "run.json")
    (unfinished / "README.md").write_text(card(Run(unfinished), folder.name), encoding="utf-8")
    return unfinished.rename(folder)


def card(run: Run, name: str) -> str:
    """A Markdown card of what to know about a run before using it: data, how it was made, figures, limits."""
    source, metrics = run.source, run.all_metrics()
    stages = [stage for stage in run.config.stage if stage in metrics]
    channels, height, width = source.image_shape
    said = re.sub(r"\s+|\(see.*?\)", " ", (type(source).__doc__ or "").split("\n\n")[0]).strip()
    steps = ", ".join(f"{run.config.stage[stage].trainer.max_steps} steps of {stage}" for stage in stages)
    lines = [
        "---",
        "library_name: spnn",
        "license: other",
        "tags: [diffusion, inverse-problems, image-editing]",
        "---",
        "",
        f"# {name}",
        "",
        f"Models for images of {width}x{height} pixels and {channels} "
        f"channel{'s' if channels > 1 else ''}, trained by spnn and packed with 16 bits a weight.",
        "",
        "## Data",
        "",
        f"{re.sub(' +(?=[ ,.])', '', said)} `{type(source).__name__}`, {len(source.label_names)} labels: "
        f"{', '.join(source.label_names[:8])}{', …' if len(source.label_names) > 8 else ''}.",
        f"Licence of the data: {source.licence or 'ask whoever gave them to you'}.",
        "",
        "## How it was made",
        "",
        *_made(read_status(run.folder)),
        f"Seed {run.config.seed}; {steps}.",
        "Everything else is in `config.yaml`.",
        "",
        "## Figures",
        "",
        "On held-out images.",
        "",
        *_figures(metrics, stages),
        *_reconstruction(run.folder / _RECONSTRUCTION),
        "",
        "## Use",
        "",
        "```sh",
        f"spnn sample run={name}",
        f"spnn sample run={name} task=restore operator=super_resolution",
        "```",
        "",
        "```python",
        "from spnn import Session",
        "",
        f'run = Session.load("{name}")',
        "images, y = run.held_out(4)",
        "run.reconstruct(images)",
        "```",
        "",
        "As a pipeline of diffusers, of PIL images or tensors in [0, 1]:",
        "",
        "```python",
        "from spnn.pipeline import NLBPPipeline",
        "",
        f'pipe = NLBPPipeline.from_pretrained("{name}")',
        "pipe(images, num_inference_steps=50, generator=0).images",
        *_set(source.readout),
        "```",
        "",
        "## Limits",
        "",
        "It knows the images and labels above, at this size, and nothing else. What it says of labels is what its data",
        "say; what it draws is no evidence of how anybody looks.",
        "",
    ]
    return "\n".join(lines)


def _set(readout: Readout) -> list[str]:
    if not isinstance(readout, Binary):
        return []
    return [f'pipe(images, set={{"{readout.names[-1]}": "yes"}}).images  # pipe(set=...) draws new ones']


def _made(record: dict[str, Any] | None) -> list[str]:
    starts = record["starts"] if record else []
    if not starts:
        return ["There is no record of it."]
    commits = sorted({start["git"]["commit"] for start in starts if start.get("git")})
    devices = sorted({device for start in starts for device in start["environment"]["devices"]}) or ["a CPU"]
    torch_ = starts[-1]["environment"]["packages"].get("torch", "unknown")
    return [
        "```sh",
        *(start["command"] for start in starts),
        "```",
        "",
        f"Commit {', '.join(commits) or 'unknown'}; on {', '.join(devices)}; PyTorch {torch_}.",
    ]


def _figures(metrics: dict[str, dict[str, float]], stages: list[str]) -> list[str]:
    shown = [(s, name, x) for s in stages for name, x in metrics[s].items() if "/" not in name]
    return ["| stage | measure | value |", "| --- | --- | ---: |", *(f"| {s} | {n} | {x:.4g} |" for s, n, x in shown)]


def _reconstruction(file: Path) -> list[str]:
    """One row for each guidance that the reconstruction study compared."""
    entries = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    rows = []
    for entry in entries:
        if "judge_agreement" in entry:
            low, high = (100 * bound for bound in entry["judge_agreement_interval"])
            agreement = f"{100 * entry['judge_agreement']:.1f} [{low:.1f}, {high:.1f}]"
            burnt = f"{100 * entry['saturated']:.1f}" if "saturated" in entry else ""
            rows.append(f"| {entry['guidance']} | {agreement} | {burnt} |")
    if not rows:
        return []
    head = ["| guidance | agreement by the judge, % | black or white, % |", "| --- | ---: | ---: |"]
    return ["", "Drawn from what `g` says of held-out images (`spnn evaluate`), with 95 % intervals:", "", *head, *rows]
