import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other on busy cores cost most of the time

import pytest
import torch
from commands import REPOSITORY, succeed

import spnn.entry  # noqa: F401 - registers the resolvers that configs use
from spnn.runs import Run


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def reference() -> dict:
    """Two small published networks with everything that was computed by them."""
    return torch.load(REPOSITORY / "tests/data/spnn_reference.pt", weights_only=True)


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """A run of all stages on digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    succeed("train.py", "experiment=digits", "stage.prior.trainer.max_steps=300", f"folder={folder}")
    return Run(folder)
