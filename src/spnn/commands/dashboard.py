"""`spnn dashboard`: a workspace in W&B for a run, made by code; offline, a file of what would be sent."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from spnn.errors import InputError
from spnn.runs import Run
from spnn.runs.embedded import DEFAULT, home
from spnn.tracking.dashboard import workspace

__all__ = ["main"]

_FILE = "wandb_workspace.json"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(words)
    folder = options.run.removeprefix("run=")
    try:
        return _make(Run(folder), Path(home(folder)), options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


def _make(run: Run, folder: Path, options: argparse.Namespace) -> int:
    import wandb

    offline = options.offline or not wandb.login(prompt=False, verify=False)
    made = workspace(
        run, entity=options.entity or ("" if offline else wandb.Api().default_entity or ""), project=options.project
    )
    if offline:
        folder.mkdir(parents=True, exist_ok=True)
        # No public function of that package gives what it would send.
        text = made._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2)
        (folder / _FILE).write_text(text + "\n", encoding="utf-8")
        why = "" if options.offline else "there is no API key (`wandb login` sets it), so "
        print(f"{why}nothing was sent; what would be: {folder / _FILE}")
    else:
        made.save()
        print(f"workspace: {made.url}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "spnn dashboard",
        description="Make a workspace in W&B that shows what a run logs: losses, scores, pictures, samples.",
    )
    parser.add_argument("run", nargs="?", default=DEFAULT, help="the run's folder, also as run=<folder>")
    parser.add_argument("--entity", help="the user or team in W&B; by default that of the API key")
    parser.add_argument("--project", help="by default that of the run's logger")
    parser.add_argument("--offline", action="store_true", help=f"write <run>/{_FILE}, and send nothing")
    return parser
