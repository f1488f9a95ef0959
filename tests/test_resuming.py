"""Training that is interrupted loses nothing: it goes on to the weights of one that was not."""

import csv
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning as L
import pytest
import torch
from commands import REPOSITORY, configuration, fail, succeed
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from safetensors.torch import load_file

from spnn.data import Digits, ImageData
from spnn.errors import InputError
from spnn.tracking import MetricsLog
from spnn.training import train
from spnn.training.checkpoints import AtomicCheckpoints, LastCheckpoint, steps_in
from spnn.training.stage import Stage

SHORT = (
    "experiment=digits",
    "stages=[task,prior]",
    "stage.task.trainer={max_steps: 20, val_check_interval: 10}",
    "stage.prior.trainer={max_steps: 60, val_check_interval: 20}",
    "prior.block_out_channels=[16,32]",
    "callbacks.last.every_n_train_steps=7",
    "trainer.log_every_n_steps=5",
    "trainer.precision=32-true",
)


def start(folder: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "train.py", *SHORT, f"folder={folder}", *words]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not path.exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    succeed("train.py", *SHORT, f"folder={folder}")
    return folder


def toy(folder: Path, steps: int, scores: dict[int, float], **options) -> L.Trainer:
    """A trainer whose validations have given scores, by step, and that ends by an error in a given batch."""
    callbacks = [
        ModelCheckpoint(folder, "best", monitor="val/loss", enable_version_counter=False),
        LastCheckpoint(every_n_train_steps=4),
    ]
    callbacks[1].dirpath = str(folder)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return L.Trainer(
        max_steps=steps,
        val_check_interval=4 * options.get("accumulate_grad_batches", 1),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        default_root_dir=folder / "run",
        plugins=[AtomicCheckpoints()],
        **quiet,
        **options,
    )


class Recorder(Stage):
    """A stage that writes down which images it sees, and whose validation scores are given by step."""

    trains = "model_"

    def __init__(self, scores: dict[int, float], fails_at: int | None = None):
        super().__init__(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
        self.model_ = torch.nn.Linear(1, 1)
        self.scores, self.fails_at, self.images = scores, fails_at, []

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == self.fails_at:
            raise RuntimeError("interrupted")
        self.images.append((batch_idx, batch["index"].tolist()))
        return self.model_(torch.ones(1, 1)).sum()

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.scores.get(self.global_step, 9.0))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_error_within_a_step_costs_no_batch_and_no_validation(accumulate, tmp_path):
    options = {"accumulate_grad_batches": accumulate}
    scores = {4: 0.5, 8: 0.1, 12: 0.3}

    def fit(folder: Path, stage: Recorder, **resumed) -> ModelCheckpoint:
        trainer = toy(folder, 12, scores, **options)
        data = ImageData(Digits(), batch_size=8, flip=False, batches=12 * accumulate)
        trainer.fit(stage, datamodule=data, **resumed)
        return trainer.checkpoint_callbacks[0]

    whole = Recorder(scores)
    assert fit(tmp_path / "whole", whole).best_model_score == pytest.approx(0.1)
    for fails_at in (4 * accumulate, 8 * accumulate, 9 * accumulate + accumulate // 2):
        first, second = Recorder(scores, fails_at), Recorder(scores)
        folder = tmp_path / str(fails_at)
        with pytest.raises(RuntimeError, match="interrupted"):
            fit(folder, first)
        best = fit(folder, second, ckpt_path=folder / "last.ckpt", weights_only=True)
        assert best.best_model_score == pytest.approx(0.1)
        assert torch.load(folder / "best.ckpt", weights_only=True)["global_step"] == 8
        begins = second.images[0][0]
        assert first.images[:begins] + second.images == whole.images


class Interrupting(Stage):
    """A stage of one weight that is averaged, whose batches are counted, and that Ctrl-C reaches within a step."""

    trains = "weight"

    def __init__(self, at: int | None = None):
        super().__init__(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
        self.weight, self.at = torch.nn.Linear(1, 1, bias=False), at
        torch.nn.init.zeros_(self.weight.weight)
        self.register_buffer("batches", torch.zeros(()))

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.batches += 1
        return (self.weight(torch.ones(1, 1)) - batch["index"].sum()).square().sum() * 1e-3

    def optimizer_step(self, *arguments) -> None:
        super().optimizer_step(*arguments)
        if self.global_step + 1 == self.at:  # the weights have moved, their average has not
            signal.raise_signal(signal.SIGINT)

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.log("val/loss", 1.0)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("at", [1, 3, 4, 6, 12])
def test_ctrl_c_within_a_step_ends_it_first(accumulate, at, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def fit(folder: Path, stage: Stage, **resumed) -> dict:
        trainer = toy(folder, 12, {}, accumulate_grad_batches=accumulate)
        trainer.callbacks.insert(0, EMAWeightAveraging(decay=0.5, update_every_n_steps=1))
        torch.manual_seed(0)
        trainer.fit(stage, datamodule=ImageData(Digits(), batch_size=8, batches=12 * accumulate), **resumed)
        checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
        return {key: checkpoint[key] for key in ("state_dict", "current_model_state", "optimizer_states")}

    try:
        whole = fit(tmp_path / "whole", Interrupting())
        with pytest.raises(SystemExit):
            fit(tmp_path, Interrupting(at))
        assert steps_in(tmp_path / "last.ckpt") == at
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resumed = fit(tmp_path, Interrupting(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    finally:
        signal.signal(signal.SIGINT, before)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def assert_same_run(folder: Path, other: Path) -> None:
    for stage in ("task", "prior"):
        ours, theirs = (load_file(run / stage / "weights.safetensors") for run in (folder, other))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        ours, theirs = (rows(run / stage / "metrics.csv") for run in (folder, other))
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]  # a whole curve, no step twice
        for row, expected in zip(ours, theirs, strict=True):
            assert float(row["train/loss"] or 0) == pytest.approx(float(expected["train/loss"] or 0), abs=1e-5)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for(folder / "prior/checkpoints/last.ckpt", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < steps_in(folder / "prior/checkpoints/last.ckpt") < 60
    written = (folder / "task/weights.safetensors").stat().st_mtime_ns
    printed = succeed("train.py", f"folder={folder}", "resume=true")  # no other option needs to be said again
    assert "stage prior from step" in printed and "stage task" not in printed
    assert (folder / "task/weights.safetensors").stat().st_mtime_ns == written
    assert_same_run(folder, uninterrupted)
    assert "stage" not in succeed("train.py", f"folder={folder}", "resume=true").partition("resuming")[2]  # all is done


@pytest.mark.nightly
def test_a_terminated_run_writes_a_checkpoint_before_it_ends(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "callbacks.last.every_n_train_steps=100000")
    wait_for(folder / "prior/checkpoints/best.ckpt", process)  # a validation later than the start
    assert not (folder / "prior/checkpoints/last.ckpt").exists()
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM and "with `python train.py folder=" in printed
    assert 0 < steps_in(folder / "prior/checkpoints/last.ckpt") < 60
    succeed("train.py", f"folder={folder}", "resume=true", "callbacks.last.every_n_train_steps=7")
    assert_same_run(folder, uninterrupted)


@pytest.mark.slow
def test_a_run_is_resumed_with_its_own_options_alone(uninterrupted):
    message = fail("train.py", *SHORT, f"folder={uninterrupted}", "resume=true", "network.scale_bound=2")
    assert "was started with other options: network.scale_bound=1.0, now 2." in message
    assert "holds a run already" in fail("train.py", *SHORT, f"folder={uninterrupted}")


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(InputError, match="is not a run's folder"):
        train(configuration("train", "resume=true"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"half of a file")
    with pytest.raises(InputError, match=r"last\.ckpt can't be read"):
        steps_in(tmp_path / "last.ckpt")


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"global_step": 5}, path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"last\.ckpt can't be written: No space left on device"):
        AtomicCheckpoints().save_checkpoint({"global_step": 9}, path)
    assert steps_in(path) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_an_error_that_is_no_writing_is_not_called_one(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        AtomicCheckpoints().save_checkpoint({"global_step": 5}, tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cut", ["", "7,0.", "70", "7,0.5"])
def test_metrics_go_on_after_a_kill_and_are_never_without_a_file(cut, tmp_path):
    path = tmp_path / "metrics.csv"

    def logged(steps: int, *rows: dict[str, float]) -> list[tuple[str, ...]]:
        log = MetricsLog(tmp_path, steps)
        for row in rows:
            step = row.pop("step")
            log.log_metrics(row, step)
        assert path.exists() == bool(steps)  # before anything new is written
        log.save()
        with path.open(newline="") as file:
            return [(row["step"], row.get("loss"), row.get("other")) for row in csv.DictReader(file)]

    logged(0, {"loss": 0.5, "step": 3}, {"loss": 0.25, "step": 6})
    with path.open("a") as file:
        file.write(cut)
    found = logged(5, {"loss": 0.125, "other": 1.0, "step": 6})  # a column more: the header is written anew
    assert found == [("3", "0.5", ""), ("6", "0.125", "1.0")]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # less than a checkpoint


@pytest.mark.nightly
def test_a_disk_without_space_and_a_folder_that_is_none_are_named(tmp_path):
    words = [sys.executable, "train.py", *SHORT, "stages=[task]", f"folder={tmp_path}/full"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, preexec_fn=limit_files)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert f"checkpoint {tmp_path}/full/task/checkpoints/last.ckpt can't be written: File too large" in done.stderr
    (tmp_path / "file").write_text("no folder")
    assert f"can't write to {tmp_path}/file/run" in fail("train.py", *SHORT, f"folder={tmp_path}/file/run")
