from pathlib import Path

import pytest
import torch

import spnn.entry  # noqa: F401 - registers the resolvers that configs use

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def reference() -> dict:
    """Two small published networks with everything that was computed by them."""
    return torch.load(REPOSITORY / "tests/data/spnn_reference.pt", weights_only=True)
