"""`spnn dashboard`: make a workspace and a report in W&B for a run, or, offline, write them as files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from spnn.errors import InputError
from spnn.runs import Run
from spnn.runs.embedded import DEFAULT, home
from spnn.tracking.dashboard import report, workspace

__all__ = ["main"]

_MADE = {"workspace": workspace, "report": report}


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
    entity = options.entity or ("" if offline else wandb.Api().default_entity or "")
    if offline and not options.offline:
        print("there is no API key (`wandb login` sets it), so nothing is sent")
    for name, make in _MADE.items():
        made = make(run, entity=entity, project=options.project)
        if offline:
            file = folder / f"wandb_{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            # The package has no public function that returns the data it would send.
            text = made._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2)
            file.write_text(text + "\n", encoding="utf-8")
        else:
            made.save()
        print(f"{name}: {file if offline else made.url}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "spnn dashboard",
        description="Make a workspace and a report in W&B that show what a run logs: scores, pictures, samples.",
    )
    parser.add_argument("run", nargs="?", default=DEFAULT, help="the run's folder, also as run=<folder>")
    parser.add_argument("--entity", help="the user or team in W&B; by default that of the API key")
    parser.add_argument("--project", help="by default that of the run's logger")
    parser.add_argument(
        "--offline", action="store_true", help="write what would be sent into the run's folder, and send nothing"
    )
    return parser
