"""The example scripts: they run from end to end, and what they print obeys the laws that they are about."""

import re
from pathlib import Path

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


SESSION = Path("examples/session_in_a_notebook.py")


@pytest.mark.slow
def test_the_session_s_script_measures_what_was_seen_and_saves_what_it_loaded(tmp_path):
    lines = succeed(str(SESSION), str(tmp_path / "session"), "--quick").splitlines()
    rows = [re.split(r"\s{2,}", line) for line in lines]
    found = {row[0].split(",")[0]: float(row[1]) for row in rows if len(row) == 2}
    assert found["of the measured row means"] < 1e-5
    assert found["from one solution to another"] > 0.01
    assert found["what the saved network says differs by"] == 0
    assert 0 <= found["by the judge"] <= 1
    names = {"edit.png", "sweep.png", "solved.png", "reconstructed.png", "my-faces"}
    assert {path.name for path in (tmp_path / "session").iterdir()} == names


@pytest.mark.nightly
def test_the_session_runs_as_a_notebook_that_shows_its_pictures(tmp_path):
    """Where there are jupytext, nbclient and ipykernel."""
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = jupytext.read(SESSION.absolute())
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
