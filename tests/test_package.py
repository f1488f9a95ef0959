"""The installed package: its commands in an empty folder, with configs and code of one's own."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from commands import REPOSITORY

MINE = """# @package _global_
# An experiment of my own.
defaults:
  - override /data: digits
  - override /network: digits
  - override /prior: unet_digits
name: mine
stage: {task: {module: {optimizer: {_target_: mine.Slow}}}}
"""
CODE = """from torch.optim import SGD


class Slow(SGD):
    def __init__(self, params, lr, fused):
        super().__init__(params, lr=1e-9)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the wheel's contents alone."""
    folder = tmp_path_factory.mktemp("installed")
    pip("wheel", str(REPOSITORY), "--no-build-isolation", "-w", str(folder))
    pip("install", "--target", str(folder), *map(str, folder.glob("*.whl")))
    return folder


def pip(command: str, *words: str) -> None:
    whole = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", command, "--no-deps", *words]
    subprocess.run(whole, check=True, capture_output=True, text=True)


@pytest.fixture
def spnn(installed, tmp_path):
    """Runs `spnn <words>` in an empty folder, as the installed console command."""

    def call(*words: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(installed)}  # comes before this checkout's
        command = [sys.executable, str(installed / "bin/spnn"), *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    return call


def write_own(folder: Path) -> None:
    """A config and the class that it names."""
    (folder / "conf/experiment").mkdir(parents=True)
    (folder / "conf/experiment/mine.yaml").write_text(MINE)
    (folder / "mine.py").write_text(CODE)


def test_the_wheel_holds_the_package_alone_and_is_small_without_its_runs(installed):
    with zipfile.ZipFile(next(installed.glob("*.whl"))) as wheel:
        sizes = {info.filename: info.compress_size for info in wheel.infolist()}
    assert {Path(name).parts[0].partition("-")[0] for name in sizes} == {"spnn", "hydra_plugins"}
    assert {"spnn/py.typed", "spnn/conf/train.yaml", "spnn/embedded/faces/README.md"} <= sizes.keys()
    assert sum(size for name, size in sizes.items() if not name.startswith("spnn/embedded/")) < 2e6


def test_the_source_distribution_holds_what_is_committed(tmp_path):
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()} - {"PKG-INFO"}
    assert {name for name in names if "__pycache__" not in name} <= {*listed.stdout.splitlines(), *new_files()}
    assert {"src/spnn/session.py", "conf/train.yaml", "tests/conftest.py", "LICENSE"} <= names


def new_files() -> list[str]:
    """Files of a checkout that aren't committed yet."""
    words = ["git", "ls-files", "--others", "--exclude-standard"]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.slow
def test_an_installed_package_draws_without_a_run(spnn, tmp_path):
    done = spnn("sample", "run=digits", "task=generate", "generate.set={digit: 3}", "count=2", "sampler.steps=4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "outputs/embedded/digits/samples/generate/grid.png").exists()


@pytest.mark.nightly
def test_the_commands_need_no_checkout(spnn, tmp_path):
    write_own(tmp_path)
    for words in (
        ["train", "experiment=mine", "debug=fast", "folder=outputs/a"],
        ["sample", "run=outputs/a", "count=2", "sampler.steps=2"],
        ["evaluate", "-m", "run=outputs/a", "count=2", "seed=1,2", "study=penrose"],
    ):
        done = spnn(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "outputs/a/run.json").read_text())
    assert record["status"] == "finished" and record["starts"][0]["git"] is None
    assert record["starts"][0]["command"].endswith("bin/spnn train experiment=mine debug=fast folder=outputs/a")
    assert (tmp_path / "outputs/a/samples/reconstruct/grid.png").exists()
    listed = spnn("runs", "list", "status=finished").stdout
    assert "outputs/a" in listed


@pytest.mark.nightly
def test_a_sweep_finds_the_launcher_and_ones_own_code(spnn, tmp_path):
    write_own(tmp_path)
    sweep = ("train", "-m", "experiment=mine", "debug=fast", "stages=[task]", "seed=1,2", "hydra/launcher=joblib")
    done = spnn(*sweep)
    assert done.returncode == 0 and "comparison of 2 jobs" in done.stdout, done.stdout + done.stderr
    assert len(list(tmp_path.glob("outputs/**/weights.safetensors"))) == 2


@pytest.mark.nightly
def test_ones_own_options_are_in_the_menu_and_in_the_hints(spnn, tmp_path):
    write_own(tmp_path)
    printed = spnn("train", "--help").stdout
    assert re.search(r"^    mine +An experiment of my own\.$", printed, re.MULTILINE)
    assert "  spnn train experiment=digits " in printed
    misspelt = spnn("train", "experiment=mine", "stage.task.batch_sise=3")
    assert misspelt.returncode == 1 and "did you mean stage.task.batch_size?" in misspelt.stderr


def test_the_doctor_says_what_is_found(spnn, installed, tmp_path):
    done = spnn("doctor")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "no problems found"
    assert f"{installed}/spnn" in done.stdout and "found       sweeps side by side" in done.stdout
    unknown = spnn("trian")
    assert unknown.returncode == 2 and "usage: spnn COMMAND" in unknown.stderr


def test_the_citation_names_the_newest_version_of_the_changelog():
    changes, citation = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    newest = re.search(r"^## ([\d.]+), (\d{4}-\d\d-\d\d|not released yet)$", changes, re.MULTILINE)
    assert f"\nversion: {newest[1]}\n" in citation
    assert ("\ndate-released:" in citation) == (newest[2] != "not released yet")
