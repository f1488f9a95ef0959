"""The commands as a user runs them, and the configs that they compose."""

import subprocess
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

REPOSITORY = Path(__file__).parents[1]


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=600)


def succeed(*words: str) -> str:
    done = command(*words)
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
