"""A folder that can be pushed as a Hugging Face Space: the editor's page, its requirements, and its header."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import Version

from spnn.errors import InputError
from spnn.runs import Run
from spnn.runs.embedded import embedded_runs
from spnn.runs.pack import pack

__all__ = ["export_space"]

_APP = '''"""The editor of spnn, as a Space."""

from pathlib import Path

from spnn.app.page import serve

serve({run})
'''
_README = """---
title: spnn editor
colorFrom: blue
colorTo: gray
sdk: gradio
{sdk_version}python_version: "3.11"
app_file: app.py
license: mit
---

# spnn editor

Move an attribute, and see the picture change: non-linear back-projection through a pseudo-invertible network, inside a
diffusion sampler. Made by `spnn edit --export-space`.

Photos that visitors hand in are kept in a temporary folder of the Space's machine for at most two hours.
"""


def export_space(run: str | Path, folder: str | Path) -> Path:
    """Write ``app.py``, ``requirements.txt`` and ``README.md``, and the packed run if it doesn't come with the package.

    Arguments:
        run: The run's folder or name.
        folder: The folder to write to.

    Raises:
        InputError: If the folder exists and isn't empty, or there is no such run.
    """
    folder, own = Path(folder), Path(run).exists() or str(run) not in embedded_runs()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already, and isn't empty: choose another folder.")
    found = Run(run)
    folder.mkdir(parents=True, exist_ok=True)
    if own:
        pack(found, folder / "run")
    app = _APP.format(run='Path(__file__).parent / "run"' if own else json.dumps(str(run)))
    (folder / "app.py").write_text(app if own else app.replace("from pathlib import Path\n\n", ""), encoding="utf-8")
    (folder / "requirements.txt").write_text(f"spnn[app]{_bounds(version('spnn'))}\n", encoding="utf-8")
    (folder / "README.md").write_text(_README.format(sdk_version=_sdk_version()), encoding="utf-8")
    return folder


def _bounds(installed: str) -> str:
    """The versions from this one up to the next that may change interfaces."""
    least = Version(installed)
    return f">={least.public},<{least.major + 1}" if least.major else f">={least.public},<0.{least.minor + 1}"


def _sdk_version() -> str:
    """A header line that gives the Space the Gradio version that is installed here; empty if none is."""
    try:
        return f"sdk_version: {version('gradio')}\n"
    except PackageNotFoundError:
        return ""
