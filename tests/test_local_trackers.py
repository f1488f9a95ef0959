"""Trackio and MLflow on this machine: what was logged is read back by their own means; no network is asked for."""

import json
import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import configuration, succeed
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from spnn.errors import InputError
from spnn.tracking import MlflowLog, TrackioLog, log_picture, log_table
from spnn.tracking.harmless import say_once
from spnn.tracking.tracker import check_installed
from spnn.training import train

pytestmark = pytest.mark.skipif(
    find_spec("trackio") is None or find_spec("mlflow") is None, reason="needs the extras trackio and mlflow"
)

SHORT = (
    "experiment=digits",
    "stages=[task]",
    "stage.task.trainer={max_steps: 4, val_check_interval: 2}",
    "trainer.log_every_n_steps=1",
    "logger=[trackio,mlflow]",
    "logger.trackio.artifacts=true",
    "logger.mlflow.artifacts=true",
)
SAMPLING = ("run=digits", "count=3", "sampler.steps=3", "logger=[trackio,mlflow]")


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory) -> Path:
    """The folder of both, as a user's environment names it: Trackio reads that once in a process."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield folder


@pytest.fixture(scope="module", autouse=True)
def asked_for() -> Iterator[list]:
    """Addresses that were asked for on the network, which isn't there; a user's token would say whom to ask."""
    asked, connect = [], socket.socket.connect

    def refuse(self, address):
        if not isinstance(address, tuple):  # but a file
            return connect(self, address)
        asked.append(address)
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", lambda *arguments, **_: refuse(None, arguments))
        patch.setenv("HF_TOKEN", "hf_of_a_user")
        yield asked


@pytest.fixture(scope="module")
def here(store) -> dict[str, str]:
    """What loggers are given by their configs."""
    return {"trackio": {"folder": os.environ["TRACKIO_DIR"]}, "mlflow": {"uri": os.environ["MLFLOW_TRACKING_URI"]}}


def options(store: Path) -> tuple[str, ...]:
    """Of commands, whose environment isn't a test's."""
    return f"logger.trackio.folder={store}/trackio", f"logger.mlflow.uri=sqlite:///{store}/mlflow.db"


class OfTrackio:
    def __init__(self, folder: Path):
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        id = json.loads((folder / "trackio.json").read_text())["id"]
        (self.run,) = [run for run in trackio.Api().runs("spnn") if run.id == id]
        self.name, self.options, self.group = self.run.name, self.run.config, self.run.config["_Group"]
        self.rows = SQLiteStorage.get_logs("spnn", self.name, run_id=id)

    def values(self, key: str) -> list[tuple[int, object]]:
        return [(row["step"], row[key]) for row in self.rows if key in row]

    def picture(self, value: dict) -> Image.Image:
        return Image.open(Path(os.environ["TRACKIO_DIR"]) / "media" / value["file_path"])

    def table(self, name: str) -> list[dict]:
        ((_, table),) = self.values(name)
        return table["_value"]


class OfMlflow:
    def __init__(self, folder: Path):
        import mlflow

        self.client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        self.run = self.client.get_run(json.loads((folder / "mlflow.json").read_text())["id"])
        self.name, self.tags, self.status = self.run.info.run_name, self.run.data.tags, self.run.info.status

    def values(self, key: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.client.get_metric_history(self.run.info.run_id, key)]

    def file(self, name: str) -> Path:
        return Path(self.client.download_artifacts(self.run.info.run_id, name))

    def files(self, folder: str = "") -> list[str]:
        return [file.path for file in self.client.list_artifacts(self.run.info.run_id, folder)]

    def table(self, name: str) -> list[dict]:
        table = json.loads(self.file(f"{name}.json").read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory, asked_for, store) -> Path:
    folder = tmp_path_factory.mktemp("tracked") / "run"
    train(configuration("train", *SHORT), folder)
    return folder / "task"


def test_training_leaves_options_metrics_pictures_bars_and_weights(stage, asked_for):
    trackio, mlflow = OfTrackio(stage), OfMlflow(stage)
    assert trackio.name == mlflow.name == "run/task"
    assert trackio.group == mlflow.tags["group"] == "digits/run" and mlflow.tags["job"] == "task"
    assert trackio.options["stage"]["task"]["batch_size"] == 128
    assert mlflow.run.data.params["stage/task/batch_size"] == "128" and mlflow.status == "FINISHED"
    for tracker in (trackio, mlflow):
        assert [step for step, _ in tracker.values("train/loss")] == [0, 1, 2, 3]
        assert [step for step, _ in tracker.values("val/accuracy/digit_7")] == [1, 3]
        bars = tracker.table("accuracy of each")
        assert {bar["name"] for bar in bars} >= {"digit_7"} and all(0 <= bar["value"] <= 1 for bar in bars)
    assert dict(trackio.values("val/loss")) == pytest.approx(dict(mlflow.values("val/loss")))
    pictures = dict(trackio.values("pictures"))
    assert list(pictures) == [1, 3]
    for step, picture in pictures.items():
        original = Image.open(stage / f"pictures/step_{step + 1:06d}.png").convert("RGB")
        assert trackio.picture(picture).convert("RGB").tobytes() == original.tobytes()
        (name,) = [name for name in mlflow.files("images") if f"+step+{step}+" in name and name.endswith(".png")]
        assert Image.open(mlflow.file(name)).convert("RGB").tobytes() == original.tobytes()
    assert (
        mlflow.file("digits-run-task/weights.safetensors").read_bytes() == (stage / "weights.safetensors").read_bytes()
    )
    kept = [path.read_bytes() for path in Path(os.environ["TRACKIO_DIR"], "artifacts").rglob("*") if path.is_file()]
    assert (stage / "weights.safetensors").read_bytes() in kept
    assert not asked_for


@pytest.mark.slow
def test_samples_are_a_table_and_studies_have_theirs(store, tmp_path):
    succeed("sample.py", *SAMPLING, *options(store), f"folder={tmp_path}/s")
    for tracker in (OfTrackio(tmp_path / "s"), OfMlflow(tmp_path / "s")):
        rows = tracker.table("samples")
        assert len(rows) == 3 and {"image", "target", "achieved", "missed", "agreement"} <= rows[0].keys()
        assert all("ink" in row["target"] for row in rows)
        assert 0 <= tracker.values("agreement")[0][1] <= 1
    trackio = OfTrackio(tmp_path / "s")
    (size,) = {trackio.picture(row["image"]).size for row in trackio.table("samples")}
    with Image.open(tmp_path / "s/00000.png") as sample:
        assert size == sample.size
    study = ("study.diversity_targets=0", f"folder={tmp_path}/e", f"report={tmp_path}/r.html")
    succeed("evaluate.py", *SAMPLING, *options(store), *study)
    trackio, mlflow = OfTrackio(tmp_path / "e/reconstruction"), OfMlflow(tmp_path / "e/reconstruction")
    assert trackio.table("samples") and mlflow.table("samples")
    assert trackio.values("nlbp/judge_agreement")[0][1] == mlflow.values("nlbp/judge_agreement")[0][1]
    assert "grid.png" in mlflow.files() and trackio.values("grid")


@pytest.mark.slow
def test_each_job_of_a_multirun_is_a_run_and_the_sweep_their_group(store, tmp_path):
    succeed("sample.py", "-m", *SAMPLING, *options(store), f"folder={tmp_path}/sweep", "seed=1,2")
    jobs = sorted(path.parent for path in tmp_path.glob("sweep/*/trackio.json"))
    assert len(jobs) == 2 and len({OfTrackio(job).run.id for job in jobs}) == 2
    for job in jobs:
        assert OfTrackio(job).group == OfMlflow(job).tags["sweep"] == "sweep"


@pytest.mark.parametrize("make, read", [(TrackioLog, OfTrackio), (MlflowLog, OfMlflow)])
def test_a_folder_that_goes_on_is_the_same_run(make, read, here, tmp_path, asked_for):
    for step, code in ((3, 1), (4, 0)):
        log = make(tmp_path, job="task", **here[make.__name__.removesuffix("Log").lower()])
        log.options = {"seed": step}  # MLflow refuses another value; the first start's stand there
        log.log_metrics({"loss": float(step)}, step)
        log.finish(code)
        assert getattr(read(tmp_path), "status", None) in (None, "FAILED" if code else "FINISHED")
    assert read(tmp_path).values("loss") == [(3, 3.0), (4, 4.0)]
    assert not asked_for


def test_a_run_that_is_gone_from_mlflow_is_begun_anew(here, tmp_path):
    (tmp_path / "mlflow.json").write_text('{"id": "0123456789abcdef0123456789abcdef"}')
    log = MlflowLog(tmp_path, job="task", **here["mlflow"])
    log.log_metrics({"loss": 1.0}, 0)
    log.finish()
    assert OfMlflow(tmp_path).values("loss") == [(0, 1.0)]


def test_a_tracker_that_cannot_begin_is_said_once_and_stops_nothing(tmp_path, caplog, asked_for):
    say_once.cache_clear()
    Image.new("RGB", (2, 2)).save(tmp_path / "picture.png")
    log = MlflowLog(tmp_path / "s", uri="http://127.0.0.1:9", job="task")
    assert hasattr(log, "experiment")  # Lightning asks
    for step in range(3):
        log.log_metrics({"loss": 1.0}, step)
        log_picture([log], "grid", tmp_path / "picture.png", step)
    log.finish()
    assert caplog.text.count("MlflowLog can't begin") == 1 and "tracking fails" not in caplog.text
    assert asked_for
    asked_for.clear()


@pytest.mark.parametrize("make", [TrackioLog, MlflowLog])
def test_other_processes_than_the_first_write_nothing(make, here, tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    log = make(tmp_path / "s", job="task", **here[make.__name__.removesuffix("Log").lower()])
    assert hasattr(log, "experiment")
    log.log_metrics({"loss": 1.0}, 0)
    log_table([log], "table", [{"a": 1}])
    assert not (tmp_path / "s").exists()


def test_a_table_may_have_gaps_and_columns_of_several_types(here, tmp_path):
    rows = [{"a": 1, "b": 0.5}, {"b": "0.1 to 0.9"}, {"a": 2.5, "b": None}]
    for make, read in ((TrackioLog, OfTrackio), (MlflowLog, OfMlflow)):
        log = make(tmp_path, job="evaluate", **here[make.__name__.removesuffix("Log").lower()])
        log_table([log], "table: a, b", rows)
        log.finish()
        table = read(tmp_path).table("table: a, b" if make is TrackioLog else "table_ a_ b")
        assert [row["a"] for row in table] == [1, None, 2.5]
        assert [row["b"] for row in table] == ["0.5", "0.1 to 0.9", None]


def test_a_package_that_is_missing_is_named_with_its_extra():
    with pytest.raises(InputError, match=r"logger=trackio needs no_such_module: pip install 'spnn\[trackio\]'"):
        check_installed("trackio", "json", "no_such_module")
