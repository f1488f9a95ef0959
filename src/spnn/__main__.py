"""``spnn train | sample | evaluate | runs | ...``: the same commands as a checkout's scripts, from any folder."""

import importlib
import os
import sys
from importlib.metadata import version

from spnn.errors import nearest

__all__ = ["main"]

_MODULES = {
    "train": "spnn.commands.train",
    "sample": "spnn.commands.sample",
    "evaluate": "spnn.commands.evaluate",
    "edit": "spnn.commands.edit",
    "runs": "spnn.runs.__main__",
    "dashboard": "spnn.commands.dashboard",
    "doctor": "spnn.commands.doctor",
}
_USAGE = """usage: spnn COMMAND [option=value ...]

  train       train the stages of an experiment
  sample      sample images for a task
  evaluate    evaluate a run on held-out images
  edit        edit pictures in the browser
  runs        list runs, find the best, show one, compare two, pack one to share it
  dashboard   make a workspace and a report in W&B that show a run
  doctor      check the installation

`spnn COMMAND --help` shows a command's choices. A folder conf/ in the working directory is searched before the
package's own configs, and configs can refer to modules in the working directory."""


def main() -> int | None:
    """Run the command that ``sys.argv`` names; return its exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name == "--version":
        print(f"spnn {version('spnn')}")
        return 0
    if name in ("-h", "--help"):
        print(_USAGE)
        return 0
    if name not in _MODULES:
        print(f"no command {name!r}{nearest(name, _MODULES)}\n\n{_USAGE}", file=sys.stderr)
        return 2
    sys.path.insert(0, os.getcwd())  # as `python train.py` does
    command = importlib.import_module(_MODULES[name]).main
    own = name in ("edit", "runs", "dashboard", "doctor")  # Hydra's commands read sys.argv themselves
    return command(sys.argv[2:]) if own else command()


if __name__ == "__main__":
    raise SystemExit(main())
