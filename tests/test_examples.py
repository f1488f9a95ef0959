"""The example script, shortened: it runs from end to end, and what it prints obeys the laws that it is about."""

import re

import pytest
from commands import succeed
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("example") / "pictures"


@pytest.fixture(scope="module")
def printed(folder) -> dict[tuple[str, str], float]:
    """The printed numbers, by where and what they are."""
    lines = succeed("examples/from_linear_to_spnn.py", str(folder), "--quick").splitlines()
    rows = [re.split(r"\s{2,}", line) for line in lines]
    return {(row[0], row[1].split(":")[0]): float(row[2]) for row in rows if len(row) == 3}


@pytest.mark.slow
def test_the_example_shows_the_exact_laws(printed):
    for where, tolerance in {
        "linear": 1e-12,
        "coordinates": 1e-12,
        "natural": 1e-12,
        "trained r": 1e-12,
        "digits": 1e-3,
    }.items():
        for law in ("right inverse", "Penrose 2", "back-projected", "half of the way"):
            assert printed[where, law] < tolerance, (where, law)
    assert printed["linear", "DDNM"] < 1e-12
    assert printed["coordinates", "consistency"] < 1e-12
    assert printed["coordinates", "|x' - φ⁻¹(A's back-projection of φ(x))|"] < 1e-12
    assert printed["natural", "thousand others"] < 1e-12
    assert printed["natural", "Claim 2"] == 0


@pytest.mark.slow
def test_the_example_shows_where_the_naive_rule_fails(printed):
    assert printed["linear", "naive"] < 1e-12
    for where in ("coordinates", "natural", "trained r", "digits"):
        assert printed[where, "naive"] > 0.01, where


@pytest.mark.slow
def test_the_example_shows_what_training_and_guidance_are_for(printed):
    reconstruction = "reconstruction"
    assert printed["trained r", reconstruction] < printed["natural", reconstruction]
    read = "the network reads the wanted digit, share"
    assert printed["guided", read] > printed["free", read] + 0.2
    assert printed["guided", "largest |pixel|"] <= 1


@pytest.mark.slow
def test_the_example_leaves_its_pictures(printed, folder):
    names = {"plane_coordinates.png", "plane_coupling.png", "digits.png", "trajectory.png"}
    assert {path.name for path in folder.iterdir()} == names
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.width > 500
            low, high = picture.convert("L").getextrema()
            assert low < 100 < 200 < high  # something is drawn
