import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads waiting for each other on busy cores take most of the time

import shutil
from pathlib import Path

import pytest
import torch
from commands import REPOSITORY, succeed
from filelock import FileLock

import spnn.entry  # noqa: F401 - registers the resolvers that configs use
from spnn.runs import Run
from spnn.settings import settings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that need the shared run last, except for the first of them: while one process trains the run, the
    others work on the other files."""
    needing = list(dict.fromkeys(item.path for item in items if "run" in getattr(item, "fixturenames", ())))
    items.sort(key=lambda item: 0 if item.path in needing[:1] else 2 if item.path in needing else 1)


@pytest.fixture(autouse=True)
def _as_a_command():
    torch.manual_seed(0)
    with settings():
        yield


@pytest.fixture(scope="session")
def reference() -> dict:
    """Two small published networks and everything that they computed."""
    return torch.load(REPOSITORY / "tests/data/spnn_reference.pt", weights_only=True)


@pytest.fixture(scope="session")
def run(tmp_path_factory, worker_id) -> Run:
    """A run of all stages on digits, trained once for all test processes; each has its own copy."""
    base = tmp_path_factory.getbasetemp()
    trained = Path(base if worker_id == "master" else base.parent, "trained")
    with FileLock(f"{trained}.lock"):
        if not trained.exists():
            short = ("stage.prior.trainer.max_steps=300", "callbacks.pictures=null")
            succeed("train.py", "experiment=digits", *short, f"folder={trained}")
    return Run(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "digits"))
