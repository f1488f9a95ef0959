"""guidance=classifier: a classifier of noisy images, trained and guiding."""

import pytest
import torch
from commands import configuration

from spnn.diffusion import ClassifierGuidance, ConstantStrength
from spnn.errors import InputError
from spnn.readout import Binary
from spnn.sampling import sample
from spnn.training import train


@pytest.mark.nightly
def test_a_classifier_of_noisy_images_is_trained_and_guides(run, tmp_path):
    words = (
        f"from_run={run.folder}",
        "experiment=digits",
        "stages=[judge]",
        "stage@stage.judge=judge_noisy",
        "folder=x",
    )
    short = ("stage.judge.trainer.max_steps=300", "stage.judge.trainer.val_check_interval=100")
    metrics = train(configuration("train", *words, *short, "stage.judge.module.optimizer.lr=3e-3"), tmp_path / "noisy")
    assert 0.9 < metrics["judge/accuracy"] < run.metrics("judge")["accuracy"]  # of ten answers, at all levels
    common = (f"run={run.folder}", "task=generate", "generate.set={digit_3: yes}", "generate.others=free", "count=16")
    rows = {}
    for name in ("none", "classifier"):
        own = [f"guidance.classifier.run={tmp_path}/noisy", "guidance.rate=3"] if name == "classifier" else []
        rows[name] = sample(configuration("sample", *common, f"guidance={name}", *own), tmp_path / name)
    assert rows["classifier"]["judge_edit_success"] > rows["none"]["judge_edit_success"] + 0.3


def test_another_classifier_is_refused(run, tmp_path):
    for message, *words in (
        ("is given: train one, python train.py from_run",),
        ("has trained no classifier of noisy images", f"guidance.classifier.run={run.folder}"),
        ("is not a run's folder", "guidance.classifier.run=nowhere"),
    ):
        with pytest.raises(InputError, match=message):
            sample(configuration("sample", f"run={run.folder}", "guidance=classifier", *words), tmp_path / "s")
        assert not (tmp_path / "s").exists()


def test_a_classifier_for_other_labels_is_refused(run):

    classifier = torch.nn.Identity()
    classifier.names = ("a", "b")
    with pytest.raises(InputError, match=r"is for 2 labels \(a, b ...\), but the targets are 2 outputs \(b, a"):
        ClassifierGuidance(
            None, torch.zeros(1, 2), classifier=classifier, schedule=ConstantStrength(), readout=Binary(["b", "a"])
        )
