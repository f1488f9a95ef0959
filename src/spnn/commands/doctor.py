"""`spnn doctor`: report what is installed, what commands would use, and what would not work."""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from spnn.entry import cores, fast_precision
from spnn.errors import counted
from spnn.runs.record import environment
from spnn.search_path import config_folders

__all__ = ["main"]

_OPTIONAL = {  # module: its purpose, the extra that installs it
    "hydra_plugins.hydra_joblib_launcher": ("sweeps side by side, hydra/launcher=joblib", "launchers"),
    "hydra_plugins.hydra_submitit_launcher": ("sweeps on a cluster, hydra/launcher=submitit_slurm", "launchers"),
    "gradio": ("the editor in the browser, spnn edit", "app"),
    "optuna": ("sweeps that search, hydra/sweeper=optuna", "optuna"),
    "tensorboard": ("logger=tensorboard", "tensorboard"),
    "trackio": ("logger=trackio", "trackio"),
    "mlflow": ("logger=mlflow", "mlflow"),
    "wandb_workspaces": ("spnn dashboard", "dashboard"),
    "azula": ("priors of azula", "azula"),
    "deepinv": ("operators of deepinv", "deepinv"),
    "pycocotools": ("the mean average precision of boxes", "detection"),
}
_ROOMY = 2e9  # bytes that a run of photographs and its checkpoints may take


def main(words: Sequence[str] | None = None) -> int:
    """Print the report; return 1 if something would not work."""
    argparse.ArgumentParser("spnn doctor", description="Say what is installed, and what would not work.").parse_args(
        words
    )
    found, problems = environment(), []
    print(f"spnn        {found['packages'].get('spnn', 'unknown version')}, {Path(__file__).parents[1]}")
    print(f"python      {found['python']}, {sys.executable}")
    print("packages    " + ", ".join(f"{name} {version}" for name, version in found["packages"].items()))
    print(f"devices     {', '.join(found['devices']) or 'no GPU'}; {cores(found['cores'])} of {found['cores']} cores")
    print(f"precision   {fast_precision()}")
    print("configs     " + ", then ".join(map(str, config_folders())))
    for module, (purpose, extra) in _OPTIONAL.items():
        there = importlib.util.find_spec(module) is not None
        print(
            f"{'found' if there else 'not there':<11} {purpose}" + ("" if there else f": pip install 'spnn[{extra}]'")
        )
    try:
        import torchvision.ops  # noqa: F401 - registers operators that only the right torch has
    except Exception as error:
        problems.append(f"torchvision doesn't fit torch {torch.__version__} ({error}): install a pair that does.")
    folder = Path("outputs") if Path("outputs").is_dir() else Path()
    if not os.access(folder, os.W_OK):
        problems.append(f"{folder.resolve()} can't be written: choose another working directory, or `folder=...`.")
    elif (free := shutil.disk_usage(folder).free) < _ROOMY:
        problems.append(f"{folder.resolve()} has {free / 1e9:.1f} GB left: a run may need {_ROOMY / 1e9:.0f}.")
    for problem in problems:
        print(f"PROBLEM     {problem}")
    print(f"{counted(len(problems), 'problem') if problems else 'no problems'} found")
    return 1 if problems else 0
