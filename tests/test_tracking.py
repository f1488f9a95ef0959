"""What is tracked: W&B's records are read back, TensorBoard's events, and the files that need neither."""

import json
import logging
import re
from pathlib import Path

import pytest
import wandb
from commands import configuration, succeed
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_records import history, records

from examples.own.notes import Notes
from spnn.commands import dashboard
from spnn.errors import InputError
from spnn.tracking import TensorBoardLog, Tracker, WandbLog, log_bars, log_picture, log_table
from spnn.tracking.harmless import harmless, say_once
from spnn.training import train

SHORT = (
    "experiment=digits",
    "stages=[task,prior]",
    "stage.task.trainer={max_steps: 4, val_check_interval: 2}",
    "stage.prior.trainer={max_steps: 2, val_check_interval: 2}",
    "trainer.log_every_n_steps=1",
    "logger=[csv,wandb,tensorboard]",
)


@pytest.fixture(autouse=True)
def _without_an_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    say_once.cache_clear()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tracked") / "run"
    train(configuration("train", *SHORT, "logger.wandb.artifacts=true"), folder)
    return folder


def file_of(folder: Path) -> Path:
    (found,) = folder.glob("wandb/offline-run-*/*.wandb")
    return found


def begun(path: Path):
    return next(record.run for record in records(path) if record.WhichOneof("record_type") == "run")


def test_each_stage_is_a_run_of_one_group_with_all_options(tracked):
    for stage in ("task", "prior"):
        run = begun(file_of(tracked / stage))
        assert (run.run_group, run.job_type, run.display_name) == ("digits/run", stage, f"run/{stage}")
        options = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert options["stage"]["task"]["batch_size"] == 128 and options["network"]["_target_"] == "spnn.SPNN"
    assert wandb.run is None  # each was ended


def test_losses_accuracy_by_attribute_and_pictures_are_in_the_records(tracked):
    rows = history(file_of(tracked / "task"))
    by_step = {row["_step"]: row for row in rows}
    assert {0, 1, 2, 3} <= by_step.keys() and all("train/loss" in by_step[step] for step in range(4))
    assert {"val/loss", "val/accuracy", "val/accuracy/digit_7"} <= by_step[3].keys()
    keys = {key for row in rows for key in row}
    assert {"test/accuracy", "accuracy of each_table/_type"} <= keys
    pictures = [name for row in rows if "pictures/filenames" in row for name in row["pictures/filenames"]]
    assert len(pictures) == 2
    for name in pictures:
        with Image.open(file_of(tracked / "task").parent / "files" / name) as picture:
            assert picture.width > 500
    guided = {key for row in history(file_of(tracked / "prior")) for key in row}
    assert {"val/agreement", "pictures/filenames"} <= guided
    assert any(record.WhichOneof("record_type") == "artifact" for record in records(file_of(tracked / "task")))


def test_tensorboard_and_the_run_folder_have_them_too(tracked):
    events = EventAccumulator(str(tracked / "task/tensorboard")).Reload()
    assert {"train/loss", "val/accuracy/digit_7"} <= set(events.Tags()["scalars"])
    assert "pictures" in events.Tags()["images"]
    assert (tracked / "prior/pictures/step_000002.png").exists()
    assert "val/accuracy/digit_7" in (tracked / "task/metrics.csv").read_text()


def test_a_dashboard_shows_what_the_stages_log(tracked, monkeypatch, capsys):
    assert dashboard.main([f"run={tracked}"]) == 0
    assert "there is no API key" in capsys.readouterr().out
    view = json.loads((tracked / "wandb_workspace.json").read_text())
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    panels = [panel["config"] for section in sections for panel in section["panels"]]
    keys = {key for row in history(file_of(tracked / "task")) + history(file_of(tracked / "prior")) for key in row}
    shown = {key for panel in panels for key in panel.get("metrics", ())}
    assert {"train/loss", "val/accuracy", "val/agreement"} <= shown
    assert {key for key in shown if "natural" not in key} <= keys  # phase 2 wasn't run
    assert any(re.fullmatch(panel["metricRegex"], "val/accuracy/digit_7") for panel in panels if "metricRegex" in panel)
    runs = view["spec"]["section"]["runSets"][0]
    assert runs["filters"]["filters"][0]["value"] == "digits/run"
    page = (tracked / "wandb_report.json").read_text()
    (table,) = [block["content"] for block in json.loads(page)["spec"]["blocks"] if "content" in block]
    accuracy = json.loads((tracked / "metrics.json").read_text())["task"]["accuracy"]
    assert f"| `task/accuracy` | {accuracy:.4g} |" in table
    assert "digits/run" in page and all(key in page for key in shown)


def test_a_folder_that_goes_on_is_the_same_run(tmp_path, caplog):
    caplog.set_level(logging.INFO, "spnn")
    for code in (1, 0):
        log = WandbLog(tmp_path, job="task")
        log.log_metrics({"loss": 1.0}, step=3)
        log.finish(code)
    first, second = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert begun(first).run_id == begun(second).run_id == json.loads((tmp_path / "wandb.json").read_text())["id"]
    assert caplog.text.count("there is no API key") == 1 and caplog.text.count("wandb sync") == 1


def test_a_server_that_cannot_be_reached_does_not_stop_anything(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "spnn")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    log = WandbLog(tmp_path, job="task")
    log.log_metrics({"loss": 1.0}, step=0)
    log.finish()
    assert "W&B can't be reached" in caplog.text
    assert [row["loss"] for row in history(file_of(tmp_path))] == [1.0]


@pytest.mark.nightly
def test_a_tables_column_of_several_types_is_text(tmp_path):
    log = WandbLog(tmp_path, job="evaluate")
    log_table([log], "table", [{"a": 1, "b": 0.5}, {"b": "0.1 to 0.9"}, {"a": 2.5, "b": None}])
    log.finish()
    (path,) = [row["table/path"] for row in history(file_of(tmp_path)) if "table/path" in row]
    content = json.loads((file_of(tmp_path).parent / "files" / path).read_text())
    assert content["data"] == [[1, "0.5"], [None, "0.1 to 0.9"], [2.5, None]]


def test_an_unknown_mode_is_refused(tmp_path):
    with pytest.raises(InputError, match="online, offline or disabled"):
        WandbLog(tmp_path, mode="onlin")


def test_a_tracker_gets_what_it_shows_though_another_fails(tmp_path, caplog):
    class Broken(Tracker):
        def log_table(self, *_):
            raise OSError("disk")

    trackers = [Broken(), Notes(tmp_path)]
    trackers[1].log_metrics({"loss": 0.5}, 3)
    log_table(trackers, "table", [{"a": 1}, {"b": "two"}])
    log_picture(trackers, "grid", tmp_path / "grid.png")  # which Notes leaves out
    log_bars(trackers, "bars", {"digit": 0.25})
    trackers[1].finish()
    assert (tmp_path / "notes.txt").read_text().splitlines() == [
        "3 {'loss': 0.5}",
        "table {'a': 1, 'b': None}",
        "table {'a': None, 'b': 'two'}",
        "bars {'name': 'digit', 'value': 0.25}",
    ]
    assert "Broken.log_table: OSError: disk" in caplog.text


def test_tensorboard_shows_a_table_as_text(tmp_path):
    log = TensorBoardLog(tmp_path)
    log_table([log], "samples", [{"image": tmp_path / "00000.png", "target": "a|b", "agreement": 0.123456}])
    log.finish()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (event,) = events.Tensors("samples/text_summary")
    lines = event.tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == "| image | target | agreement |" and lines[2] == r"| 00000.png | a\|b | 0.1235 |"


@pytest.mark.slow
def test_samples_are_a_table_of_pictures_targets_and_what_was_achieved(run, tmp_path):
    succeed("sample.py", f"run={run.folder}", f"folder={tmp_path}/s", "count=3", "sampler.steps=10", "logger=wandb")
    path = file_of(tmp_path / "s")
    assert begun(path).job_type == "sample reconstruct" and begun(path).run_group == run.title
    rows = history(path)
    assert any("agreement" in row for row in rows) and any("grid/filenames" in row for row in rows)
    (table,) = [row["samples/path"] for row in rows if "samples/path" in row]
    content = json.loads((path.parent / "files" / table).read_text())
    assert {"image", "target", "achieved", "missed", "agreement"} <= set(content["columns"])
    targets = [row[content["columns"].index("target")] for row in content["data"]]
    assert len(targets) == 3 and any("digit_" in target for target in targets)
    artifacts = [record.artifact for record in records(path) if record.WhichOneof("record_type") == "artifact"]
    files = [entry.path for artifact in artifacts for entry in artifact.manifest.contents]
    assert sum(name.startswith("media/images/") and name.endswith(".png") for name in files) == 3  # of the table


@pytest.mark.nightly
def test_a_study_shows_agreement_by_attribute_and_its_samples(run, tmp_path):
    study = ("count=6", "sampler.steps=10", "study.diversity_targets=0", "logger=wandb")
    succeed("evaluate.py", f"run={run.folder}", f"folder={tmp_path}/e", f"report={tmp_path}/r.html", *study)
    path = file_of(tmp_path / "e/reconstruction")
    assert begun(path).job_type == "evaluate reconstruction"
    keys = {key for row in history(path) for key in row}
    assert {"nlbp/judge_agreement", "agreement nlbp_table/_type", "samples/path", "grid/filenames"} <= keys


def test_what_fails_in_tracking_is_said_once_and_stops_nothing(caplog):
    @harmless
    def show(what: str) -> None:
        raise OSError(what)

    for what in ("disk", "disk", "home"):
        show(what)
    assert caplog.text.count("tracking fails in show: OSError: disk") == 1 == caplog.text.count("OSError: home")
