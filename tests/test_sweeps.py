"""A sweep that was interrupted goes on: finished jobs stay, the interrupted one continues, failed ones are tried."""

import csv
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import optuna
import pytest
from commands import REPOSITORY, command, fail, succeed
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from spnn.entry import job_name
from spnn.runs.record import read_status

SWEEP = (
    "train.py",
    "-m",
    "experiment=digits",
    "stages=[task]",
    "stage.task.trainer={max_steps: 60, val_check_interval: 30}",
    "callbacks.last.every_n_train_steps=5",
    "callbacks.pictures=null",
    "trainer.precision=32-true",
)


LR = "stage.task.module.optimizer.lr"


def of_seed(folder: Path, seed: int) -> Path:
    (found,) = folder.glob(f"[!.]*seed-{seed}*")  # beside it lies its lock
    return found


@pytest.mark.nightly
def test_a_killed_sweep_goes_on_with_its_third_job(tmp_path):
    words = (*SWEEP, "seed=1,2,3,4,5,6", f"hydra.sweep.dir={tmp_path}")
    process = subprocess.Popen(
        [sys.executable, *words], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*seed-3*/task/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert read_status(of_seed(tmp_path, 3))["status"] == "interrupted"
    done = [of_seed(tmp_path, seed) / "task/weights.safetensors" for seed in (1, 2)]
    written = [path.stat().st_mtime_ns for path in done]
    printed = succeed(*words)
    assert [path.stat().st_mtime_ns for path in done] == written  # not run again
    assert printed.count("stage task from step") == 1  # the third
    assert printed.count("stage task: 60 steps") == 3  # those after it
    (table,) = tmp_path.glob("sweep_*.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["job"] for row in rows} == {f"seed={seed}" for seed in range(1, 7)}
    assert all(read_status(of_seed(tmp_path, seed))["status"] == "finished" for seed in range(1, 7))
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


def test_a_job_has_the_same_short_name_another_time(tmp_path):
    assert job_name("experiment=digits,seed=1") == "experiment-digits__seed-1"
    assert job_name("data.root=/where it/lies") == "data.root-_where_it_lies"
    assert job_name("") == "defaults"
    (tmp_path / "seed=1").mkdir()  # by an earlier version
    assert [job_name(f"seed={seed}", str(tmp_path)) for seed in (1, 2)] == ["seed=1", "seed-2"]
    long = "stage.task.module.reconstruction_weight=10," * 9
    assert len(job_name(long)) < 120 and job_name(long) == job_name(long) != job_name(long + "seed=1")


ONE_STEP = (
    *("train.py", "-m", "experiment=digits", "stages=[task]", "callbacks.pictures=null", "trainer.precision=32-true"),
    "stage.task.trainer={max_steps: 2, val_check_interval: 2}",
)


@pytest.mark.nightly
def test_every_launcher_runs_jobs_and_goes_on_with_those_of_another(tmp_path):
    seeds, done = [1], {}
    for launcher in ("joblib", "submitit_local", "ray"):
        seeds.append(seeds[-1] + 1)
        sweep = (f"hydra.sweep.dir={tmp_path}", f"seed={','.join(map(str, seeds))}")
        printed = succeed(*ONE_STEP, f"hydra/launcher={launcher}", *sweep, fresh=launcher == "ray")
        assert "deprecated" not in printed and f"comparison of {len(seeds)} jobs" in printed
        weights = {seed: of_seed(tmp_path, seed) / "task/weights.safetensors" for seed in seeds}
        written = {seed: path.stat().st_mtime_ns for seed, path in weights.items()}
        assert written | done == written  # the earlier ones were not run again
        done = written


def test_a_launcher_that_is_not_installed_is_named_with_its_package():
    done = command(*ONE_STEP, "seed=1,2", "hydra/launcher=joblib", "hydra.launcher._target_=hydra_plugins.other.Other")
    assert done.returncode == 1 and "pip install -e '.[launchers,optuna]'" in done.stderr


def test_a_slurm_job_that_runs_out_of_time_is_queued_again():
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        words = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
        with warnings.catch_warnings(action="ignore"):
            config = compose("train", words, return_hydra_config=True)
    options = OmegaConf.to_container(config.hydra.launcher)
    assert options["_target_"].endswith("SlurmLauncher") and options["partition"] == "gpu"
    assert options["max_num_timeout"] > 0


SEARCH = (
    *(*ONE_STEP, "hydra/sweeper=optuna", "network.mixing=cayley,spiral"),
    "stage.task.module.optimizer.lr=tag(log,interval(1e-4,1e-2))",
)


def trials(folder: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/optuna_search.db").get_trials()


@pytest.mark.slow
def test_a_study_goes_on_to_its_total_and_repeats_what_was_interrupted(tmp_path):
    sweep = (f"hydra.sweep.dir={tmp_path}", "hydra.sweeper.seed=1")
    done = command(*SEARCH, *sweep, "hydra.sweeper.n_trials=3")
    first = trials(tmp_path)
    states = [trial.state for trial in first]
    assert len(first) == 3 and TrialState.COMPLETE in states and TrialState.FAIL in states  # there is no such mixing
    assert done.returncode == 1
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path}/optuna_search.db")
    study.enqueue_trial({"network.mixing": "cayley", LR: 2e-3})
    killed = study.ask(first[0].distributions)  # its command ended before it did
    total = states.count(TrialState.COMPLETE) + 1
    printed = command(*SEARCH, *sweep, f"hydra.sweeper.n_trials={total}").stdout
    repeated = trials(tmp_path)[4]
    assert repeated.params == killed.params and repeated.state == TrialState.COMPLETE
    assert f"{states.count(TrialState.COMPLETE)} of {total} trials are finished" in printed
    complete = [trial for trial in trials(tmp_path) if trial.state == TrialState.COMPLETE]
    assert f"best of {len(complete)} trials" in printed
    newest = max(tmp_path.glob("sweep_*.csv"), key=lambda path: path.stat().st_mtime)
    with newest.open() as file:
        losses = [float(row["task/loss"]) for row in csv.DictReader(file) if row["task/loss"]]
    assert losses == sorted(losses) and losses[0] == pytest.approx(min(trial.value for trial in complete))


def test_a_search_without_a_range_or_with_another_metric_is_refused(tmp_path):
    search = (*ONE_STEP, "hydra/sweeper=optuna", f"hydra.sweep.dir={tmp_path}")
    assert "nothing to search" in fail(*search)
    wrong = (f"{LR}=interval(1e-4,1e-2)", "hydra.sweeper.objective=task/los")
    assert "jobs return no 'task/los', but task/loss" in fail(*search, *wrong)


def test_a_range_ends_before_its_end():
    study = pytest.importorskip("hydra_plugins.resuming_sweeps._study")
    parser = OverridesParser.create()
    for word, last in (("x=range(0,1,0.5)", 0.5), ("x=range(0,1.2,0.5)", 1.0), ("x=range(2,9,3)", 8)):
        found = study.distribution(parser.parse_override(word))
        assert found.high == pytest.approx(last), word
