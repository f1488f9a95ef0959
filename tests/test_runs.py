"""Run folders say how they came about and how they stand; runs are found, filtered, sorted and compared."""

import json
import multiprocessing
import os
import signal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from commands import fail, succeed
from omegaconf import OmegaConf

from spnn.errors import InputError
from spnn.runs import Record, Run
from spnn.runs.__main__ import main
from spnn.runs.listing import Condition, Listed, best_first, compare, find_runs
from spnn.runs.record import read_status


def make(folder: Path, seed: int, loss: float | None = None, **options) -> Listed:
    """A run's folder, as far as lists look at it."""
    folder.mkdir(parents=True)
    config = {"name": "toy", "seed": seed, "stages": ["task"], "network": {"mixing": "cayley"}, **options}
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    with Record(folder, [f"seed={seed}"]) as record:
        record.stage("task")
        if loss is not None:
            (folder / "metrics.json").write_text(json.dumps({"task": {"loss": loss}}))
    return Listed(folder)


def killed(folder: Path) -> None:
    with Record(folder):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_record_says_how_a_run_came_about(tmp_path):
    run = make(tmp_path / "run", seed=1)
    (start,) = run.record["starts"]
    assert run.record["status"] == "finished" and run.record["stage"] is None
    assert start["overrides"] == ["seed=1"] and start["began"] <= start["ended"]
    assert {"torch", "lightning", "spnn"} <= start["environment"]["packages"].keys()
    if start["git"] is not None:  # the tests may run from an archive
        assert len(start["git"]["commit"]) == 40


@pytest.mark.parametrize(
    "error, status, reason",
    [
        (InputError("no such data"), "failed", "no such data"),
        (ValueError("odd"), "failed", "ValueError: odd"),
        (KeyboardInterrupt(), "interrupted", "signal"),
        (TimeoutError(), "interrupted", "signal"),
    ],
)
def test_a_record_says_how_a_run_ended(error, status, reason, tmp_path):
    with pytest.raises(type(error)), Record(tmp_path, interruptions=(TimeoutError,)) as record:
        record.stage("prior")
        raise error
    found = read_status(tmp_path)
    assert found["status"] == status and reason in found["reason"] and found["stage"] == "prior"
    with Record(tmp_path):
        assert read_status(tmp_path)["status"] == "running"
    found = read_status(tmp_path)
    assert found["status"] == "finished" and found["reason"] is None and len(found["starts"]) == 2


def test_the_time_of_a_killed_process_is_not_counted_while_the_next_one_runs(tmp_path):
    run = make(tmp_path / "run", seed=1)
    record = json.loads((run.folder / "run.json").read_text())
    lost = record["starts"][0] | {"began": "2020-01-01T00:00:00+00:00", "ended": None}
    (run.folder / "run.json").write_text(json.dumps(record | {"starts": [lost]}))
    with Record(run.folder):
        assert Listed(run.folder).record["status"] == "running" and Listed(run.folder).seconds < 60


def test_a_package_that_is_not_installed_records_what_it_runs_on(tmp_path, monkeypatch):
    def not_installed(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("spnn.runs.record.requires", not_installed)
    with Record(tmp_path):
        pass
    (start,) = read_status(tmp_path)["starts"]
    assert start["environment"]["packages"]["torch"] == version("torch")


def test_a_killed_run_is_known_and_a_running_one_is_left_alone(tmp_path):
    process = multiprocessing.get_context("forkserver").Process(target=killed, args=(tmp_path,))
    process.start()
    process.join()
    assert read_status(tmp_path)["status"] == "interrupted"
    with (
        Record(tmp_path),
        pytest.raises(InputError, match="being trained by another process"),
        Record(tmp_path),
    ):
        pass


def test_runs_are_filtered_by_options_metrics_and_status(tmp_path):
    one = make(tmp_path / "a/1", 1, loss=0.5)
    two = make(tmp_path / "b/2", 2, loss=0.25, network={"mixing": "householder"})
    three = make(tmp_path / "3", 3)
    (tmp_path / "3/samples").mkdir()
    (tmp_path / "3/samples/config.yaml").write_text("other: 1\n")  # not a run's

    def found(*conditions: str) -> list[int]:
        return sorted(run.options["seed"] for run in find_runs(tmp_path, conditions))

    assert found() == [1, 2, 3]
    assert found("network.mixing=cayley") == [1, 3] and found("network.mixing!=cayley") == [2]
    assert found("network.mixing=house*") == [2] and found("status=finished", "seed>=2") == [2, 3]
    assert found("task/loss<0.3") == [2] and found("task/loss<=0.5", "seed=1.0") == [1]
    assert best_first([one, two, three], "-task/loss") == [two, one]
    assert best_first([one, two, three], "task/loss") == [one, two]
    with pytest.raises(InputError, match=r"did you mean network\.mixing"):
        found("network.mixin=cayley")
    with pytest.raises(InputError, match="which is not a number"):
        Condition("task/loss<little")
    with pytest.raises(InputError, match="is not a valid condition"):
        Condition("finished")


def test_two_runs_are_compared(tmp_path, capsys):
    one, two = make(tmp_path / "1", 1, loss=0.5), make(tmp_path / "2", 2, loss=0.25, compile=True)
    options, metrics = compare(one, two)
    assert options == {"seed": (1, 2), "compile": (None, True)} and metrics == {"task/loss": (0.5, 0.25)}
    assert main(["compare", str(one.folder), str(two.folder)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("seed", "compile", "task/loss", "0.25"))


def test_the_command_lists_the_best_and_says_what_is_wrong(tmp_path, capsys):
    make(tmp_path / "1", 1, loss=0.5), make(tmp_path / "2", 2, loss=0.25)
    with pytest.raises(KeyError), Record(tmp_path / "1"):
        raise KeyError("lost")
    assert main(["list", f"--in={tmp_path}", "--columns=seed,task/loss"]) == 0
    printed = capsys.readouterr().out
    assert "failed" in printed and "lost" in printed and "0.25" in printed
    assert main(["best", "task/loss", "--least", "--path", f"--in={tmp_path}"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "2")
    assert main(["best", "task/los", f"--in={tmp_path}"]) == 1 and "task/loss" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "2")]) == 0 and "command" in capsys.readouterr().out
    assert main(["show", str(tmp_path / "none")]) == 1 and "is not a run's folder" in capsys.readouterr().err


def test_what_a_run_failed_of_is_on_its_record(tmp_path):
    base = ("train.py", "experiment=digits", "stages=[task]", f"folder={tmp_path}/run")
    fail(*base, "network.mixing=spiral")
    found = read_status(tmp_path / "run")
    assert found["status"] == "failed" and found["stage"] == "task" and "spiral" in found["reason"]
    printed = succeed("-m", "spnn.runs", "list", f"--in={tmp_path}", "status=failed")
    assert "failed (task)" in printed and "spiral" in printed


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "torch.hub.load", "subprocess.Popen", "numpy.load"])
def test_a_foreign_runs_config_calls_nothing_that_ours_do_not(target, tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(f"data: {{source: {{_target_: {target}, x: 1}}}}\n")
    with pytest.raises(InputError, match=f"would call {target}, which no config of this project names"):
        Run(tmp_path)
    monkeypatch.setenv("SPNN_TRUST", f"mine,{target.partition('.')[0]}")
    assert Run(tmp_path).config.data.source.x == 1


def test_modules_of_ones_own_are_trusted(tmp_path, monkeypatch):
    (tmp_path / "my_module.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "config.yaml").write_text("a: [{_target_: my_module.Mine}, {_target_: spnn.SPNN}]\n")
    assert len(Run(tmp_path).config.a) == 2
