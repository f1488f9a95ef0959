"""A sweep that was interrupted goes on: finished jobs stay, the interrupted one continues, failed ones are tried."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import REPOSITORY, command, succeed

from spnn.entry import job_name

SWEEP = (
    "train.py",
    "-m",
    "experiment=digits",
    "stages=[task]",
    "stage.task.trainer={max_steps: 100, val_check_interval: 50}",
    "callbacks.last.every_n_train_steps=5",
    "trainer.precision=32-true",
)


def of_seed(folder: Path, seed: int) -> Path:
    (found,) = folder.glob(f"*seed={seed}*")
    return found


@pytest.mark.slow
def test_a_killed_sweep_goes_on_with_its_third_job(tmp_path):
    words = (*SWEEP, "seed=1,2,3,4", f"hydra.sweep.dir={tmp_path}")
    process = subprocess.Popen(
        [sys.executable, *words], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*seed=3*/task/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (of_seed(tmp_path, 3) / "task/weights.safetensors").exists()
    done = [of_seed(tmp_path, seed) / "task/weights.safetensors" for seed in (1, 2)]
    written = [path.stat().st_mtime_ns for path in done]
    printed = succeed(*words)
    assert [path.stat().st_mtime_ns for path in done] == written  # not run again
    assert printed.count("stage task from step") == 1  # the third
    assert printed.count("stage task: 100 steps") == 1  # the fourth
    (table,) = tmp_path.glob("sweep_*.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["job"] for row in rows} == {f"seed={seed}" for seed in (1, 2, 3, 4)}
    losses = [float(row["task/loss"]) for row in rows]
    assert losses == sorted(losses)  # the best first


@pytest.mark.slow
def test_a_job_that_fails_ends_no_sweep_and_is_tried_again(tmp_path):
    words = (*SWEEP, "network.mixing=cayley,spiral", f"hydra.sweep.dir={tmp_path}")
    done = command(*words)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert "1 of 2 jobs failed; the same command tries them again" in done.stdout
    (table,) = tmp_path.glob("sweep_*.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["error"]) for row in rows] == [False, True] and "spiral" in rows[1]["error"]


def test_a_job_has_the_same_short_name_another_time():
    assert job_name("experiment=digits,seed=1") == "experiment=digits,seed=1"
    assert job_name("data.root=/where it/lies") == "data.root=_where_it_lies"
    assert job_name("") == "defaults"
    long = "stage.task.module.reconstruction_weight=10," * 9
    assert len(job_name(long)) < 120 and job_name(long) == job_name(long) != job_name(long + "seed=1")
