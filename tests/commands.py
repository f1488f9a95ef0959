"""The commands as a user runs them, and the configs that they compose."""

import multiprocessing
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from spnn.checking import check

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

# Commands are forked from a process that has imported the libraries: importing takes longer than most commands.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["spnn.training", "spnn.sampling", "spnn.evaluation", "spnn.entry"])


def command(*words: str, fresh: bool = False) -> subprocess.CompletedProcess:
    """Run `python <words>`; with ``fresh``, in a new interpreter, which commands that start themselves again need."""
    if fresh:
        return subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder, stream) for stream in ("stdout", "stderr")]
        process = _SERVER.Process(target=_run, args=(words, *printed))
        process.start()
        process.join(600)
        assert process.exitcode is not None, f"{words} took more than ten minutes"
        return subprocess.CompletedProcess(words, process.exitcode, *(path.read_text() for path in printed))


def _run(words: tuple[str, ...], stdout: Path, stderr: Path) -> None:
    """Run the command in a forked process."""
    for stream, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(REPOSITORY)
    as_module = words[0] == "-m"
    sys.argv = list(words[as_module:])
    code = 0
    try:
        runpy.run_module(words[1], run_name="__main__") if as_module else runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # skip exit handlers: they would remove what the server has made for all processes


def succeed(*words: str, fresh: bool = False) -> str:
    done = command(*words, fresh=fresh)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def fail(*words: str) -> str:
    """The message of a command that fails; it must not be a traceback."""
    done = command(*words)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def configuration(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return compose(name, list(overrides))


def check_configuration(name: str, *overrides: str, folder: Path | None = None) -> DictConfig:
    """The config that a command gets, after the command's first checks; ``folder`` has further configs."""
    searched = [] if folder is None else [f"hydra.searchpath=[file://{folder}]"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose(name, [*overrides, *searched], return_hydra_config=True)
        hydra = config.hydra
        with open_dict(config):
            del config["hydra"]
        check(config, hydra)
    return config


def commands_of(page: Path) -> list[list[str]]:
    """The words of each command in a page's shell blocks; placeholders for the reader's own values become ``x``."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = (line for block in blocks for line in block.replace("\\\n", " ").splitlines())
    named = (re.sub(r"<.*?>|\$\(.*?\)", "x", line) for line in lines)
    return [words for line in named if (words := shlex.split(line, comments=True))]
