"""The sweep that goes on, in a project that knows nothing of spnn, and can't import it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import REPOSITORY
from filelock import FileLock
from omegaconf import OmegaConf

from hydra_plugins.resuming_sweeps import _table
from hydra_plugins.resuming_sweeps._jobs import Job, _plain, folder_name

MAIN = """
import os
import subprocess
import sys
import time
from pathlib import Path

import hydra

HERE = Path(__file__).parent


def say(text):
    with (HERE / "said").open("a") as file:
        file.write(f"{text}\\n")


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config):
    say(f"begin {config.x}")
    if config.devices > 1 and "LOCAL_RANK" not in os.environ:  # as Lightning does
        os.environ["LOCAL_RANK"] = "0"
        command = [sys.executable, *sys.argv, "hydra.job.name=train_ddp_process_1"]
        subprocess.run(command, env=os.environ | {"LOCAL_RANK": "1"}, check=True)
    begun = (HERE / "said").read_text().count("begin")
    while (HERE / "hang").exists() and begun >= int((HERE / "hang").read_text()):
        time.sleep(0.02)
    if config.x == config.broken:
        raise ValueError("x is broken")
    say(f"end {config.x}")
    return (config.x - 2) ** 2 + config.shift


if __name__ == "__main__":
    main()
"""
CONFIG = """
x: 0
y: 0
shift: 0
broken: null
devices: 1
hydra:
  sweep:
    dir: logs/${now:%Y-%m-%d_%H-%M-%S}
    subdir: ${hydra.job.num}
"""
WITHOUT_SPNN = """
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "spnn":
            raise RuntimeError("spnn is imported")


sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture
def project(tmp_path) -> Path:
    for name, text in {"main.py": MAIN, "conf/config.yaml": CONFIG, "sitecustomize.py": WITHOUT_SPNN}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def start(project: Path, *words: str) -> subprocess.Popen:
    """Its command in a process of its own, which can't import spnn."""
    paths = [str(project), str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "main.py", "-m", *words], cwd=project, env=environment, **streams)


def run(project: Path, *words: str) -> tuple[int, str]:
    """The status and the output of its sweep."""
    process = start(project, "hydra/sweeper=resuming", *words)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


def succeed(project: Path, *words: str) -> str:
    status, printed = run(project, *words)
    assert status == 0, printed
    return printed


def fail(project: Path, *words: str) -> str:
    status, printed = run(project, *words)
    assert status == 1 and "Traceback" not in printed, printed
    return printed


def record(folder: Path) -> dict:
    return json.loads((folder / "job.json").read_text())


def said(project: Path) -> list[str]:
    return (project / "said").read_text().splitlines()


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("launcher", ["basic", "joblib", pytest.param("submitit_local", marks=pytest.mark.slow)])
def test_a_killed_sweep_goes_on_in_a_project_without_spnn(project, launcher):
    words = ("hydra/sweeper=resuming", "x=1,2,3,4", "broken=4", f"hydra/launcher={launcher}")
    words += ("hydra.launcher.n_jobs=1",) * (launcher == "joblib")
    (project / "hang").write_text("3")  # jobs
    killed, folder = start(project, *words), project / "multirun/main"
    jobs, deadline = [folder / f"broken-4__x-{x}/job.json" for x in (1, 2, 3)], time.monotonic() + 120
    wanted = ["finished", "finished", "running"]  # submitit begins all jobs at once
    while [path.exists() and json.loads(path.read_text())["status"] for path in jobs] != wanted:
        assert killed.poll() is None and time.monotonic() < deadline, killed.communicate()
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = start(project, *words)
    (project / "hang").unlink()  # the jobs of joblib and submitit may outlive the sweep
    printed, _ = again.communicate(timeout=120)
    assert again.returncode == 1 and "of 4 jobs are done already" in printed
    assert "1 of 4 jobs failed; the same command tries them again" in printed
    assert "x=4: ValueError: x is broken" in printed
    lines = said(project)
    assert (
        all(lines.count(f"{word} {x}") == 1 for word in ("begin", "end") for x in (1, 2)) and lines.count("end 3") == 1
    )
    rows = table(folder)
    assert [(row["job"], row["x"], row["result"]) for row in rows] == [
        ("x=1", "1", "1"), ("x=2", "2", "0"), ("x=3", "3", "1"), ("x=4", "4", "")
    ]  # fmt: skip
    assert [bool(row["error"]) for row in rows] == [False, False, False, True]
    assert (folder / "table.md").read_text().splitlines()[3] == "| 2 | 0 |  |"


def test_a_job_is_done_while_its_overrides_and_its_config_are_the_same(project):
    words, done = ("x=1,2", "y=5"), "2 of 2 jobs are done already"
    succeed(project, *words)
    assert done in succeed(project, "y=5", "x=2,1")  # in another order
    (project / "conf/config.yaml").write_text(CONFIG.replace("shift: 0", "shift: 1"))
    assert done in succeed(project, *words, "hydra.sweeper.whole_config=false")
    printed = succeed(project, *words, "hydra.sweeper.best=-result")
    assert "x-1__y-5: its config has changed since (shift), so it is run anew" in printed
    folder = project / "multirun/main"
    assert [row["result"] for row in table(folder)] == ["1", "2"]  # the best first
    assert record(folder / "x-1__y-5")["metrics"] == {"result": 1}  # still there
    assert done in succeed(project, *words)
    assert len(said(project)) == 8
    succeed(project, *words, "hydra.sweeper.rerun=true")
    assert len(said(project)) == 12 and len(list(folder.glob("*/job_2*.json"))) == 2


def test_a_sweep_that_cannot_be_trusted_is_not_begun(project):
    words, folder = ("x=1,2", f"hydra.sweep.dir={project}/mine"), project / "mine"
    succeed(project, *words)
    with FileLock(folder / ".sweep.lock"):
        assert "another sweep is at work in" in fail(project, *words)
    file = folder / "x-1/job.json"
    file.write_text(file.read_text()[:40])
    assert f"{file} can't be read as the record of a job" in fail(project, *words)
    assert len(file.read_text()) == 40 and len(said(project)) == 4
    shared = ("hydra.sweeper.folder=null", "hydra.sweep.subdir=one")
    assert "two jobs have the folder" in fail(project, *words, *shared)


def test_the_processes_that_a_job_starts_with_its_command_line_are_of_that_job(project):
    printed = succeed(project, "x=1,2", "devices=2")
    assert said(project) == [f"{word} {x}" for x in (1, 2) for word in ("begin", "begin", "end", "end")]
    assert printed.count("comparison of 2 jobs") == 1 and [path.name for path in project.glob("multirun/*")] == ["main"]


def test_a_study_is_told_what_its_killed_command_had_finished(project):
    words = ("hydra/sweeper=resuming_optuna", "x=range(0,100)", "hydra.sweeper.direction=minimize")
    words += ("hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=2")
    (project / "hang").write_text("2")  # jobs
    killed, folder = start(project, *words), project / "multirun/main"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*/job.json"))) < 2 and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    (project / "hang").unlink()
    printed, _ = start(project, *words).communicate(timeout=120)
    assert "0 of 2 trials are finished, 2 are tried again" in printed and "best of 2 trials: result" in printed
    first, its_end, second, *others = said(project)
    assert its_end == first.replace("begin", "end") and first not in others  # finished, though the study didn't know
    assert others == [second, second.replace("begin", "end")]
    rows = table(folder)
    assert {f"begin {row['x']}" for row in rows} == {first, second}
    assert float(rows[0]["result"]) < float(rows[1]["result"])


def test_a_search_ends_when_its_sampler_has_tried_every_value(project):
    words = ("hydra/sweeper=resuming_optuna", "x=choice(1,2,3)", "hydra.sweeper.direction=minimize")
    sampler = "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler"
    assert "best of 3 trials" in succeed(project, *words, sampler, "hydra.sweeper.n_trials=9")
    assert sorted(row["x"] for row in table(project / "multirun/main")) == ["1", "2", "3"]


def test_what_a_job_returns_becomes_json():
    values = {"a": np.float32(0.5), "b": torch.tensor(2), "c": float("nan"), "d": np.zeros(2), "e": Path("x"), 1: True}
    assert _plain(values) == {"a": 0.5, "b": 2, "c": None, "d": "[0. 0.]", "e": "x", "1": True}
    config = OmegaConf.create({"x": "${y}", "y": 1, "hydra": {}})
    assert Job.of(config, ["a=1", "b=2"], True).key == Job.of(config, ["b=2", "a=1"], True).key
    assert folder_name("a=1,b=/c d") == "a-1__b-_c_d"


def test_a_table_has_the_options_that_vary_as_columns(tmp_path):
    common = {"error": None, "folder": "f"}
    rows = [
        {"overrides": ["name=a|b", "+lr=0.1", "seed=1"], "metrics": {"loss": 0.123456, "note": "x"}, **common},
        {"overrides": ["name=c", "seed=1"], "metrics": {"loss": None}, **common},
    ]
    assert [row["name"] for row in _table.write(rows, tmp_path / "t", "-loss")] == ["name=a|b +lr=0.1", "name=c"]
    text = "| name | lr | loss | note | error |\n| --- | --- | --- | --- | --- |\n| a\\|b | 0.1 | 0.1235 | x |  |\n"
    assert (tmp_path / "t.md").read_text() == text + "| c |  |  |  |  |\n"
