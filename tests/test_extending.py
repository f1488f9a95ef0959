"""Parts of a user's own, in a folder of configs and a module of theirs, are one word on the command line, too."""

import json

import numpy as np
import pytest
import torch
from commands import REPOSITORY, configuration, fail, succeed
from omegaconf import OmegaConf
from safetensors.torch import load_file

from examples.own.clocks import angle_of
from spnn import Session
from spnn.configs import instantiate
from spnn.data import ArrayDataset, Source
from spnn.diffusion import TargetGuidance
from spnn.errors import InputError
from spnn.runs import Run
from spnn.sampling import sample
from spnn.sampling.images import held_out
from spnn.sampling.tasks import find_task
from spnn.training import TaskStage, train

STEPS = {"task": 150, "inverse": 5, "prior": 20, "judge": 60}
OWN = f"--config-dir={REPOSITORY}/examples/own/conf"


@pytest.mark.slow
def test_an_own_operator_and_prior_sample(run, tmp_path):
    words = ("sample.py", OWN, f"run={run.folder}", "task=restore", "count=4", "sampler.steps=20")
    words += ("guidance=ddnm", "guidance.clip=false")
    for prior in ("trained", "white_noise"):
        succeed(*words, "operator=soft_camera", f"prior={prior}", f"folder={tmp_path}/{prior}")
    gaps = {p: json.loads((tmp_path / p / "metrics.json").read_text()) for p in ("trained", "white_noise")}
    assert all(metrics["gap"] < 1e-2 for metrics in gaps.values())
    assert gaps["trained"]["psnr"] > gaps["white_noise"]["psnr"]  # which knows no digits


@pytest.mark.slow
def test_an_own_guidance_leads_samples_to_their_targets(run, tmp_path):
    words = ("sample.py", OWN, f"run={run.folder}", "count=10", "sampler.steps=20")
    for guidance in ("none", "sign", "push"):
        succeed(*words, f"guidance={guidance}", f"folder={tmp_path}/{guidance}")
    names = ("none", "sign", "push")
    plain, *own = (json.loads((tmp_path / name / "metrics.json").read_text())["agreement"] for name in names)
    assert min(own) > plain + 0.03


@pytest.mark.slow
def test_an_own_task_poses_its_problem(run, tmp_path):
    words = (f"run={run.folder}", "count=3", "sampler.steps=3", "trainer.precision=32-true")
    succeed("sample.py", OWN, "task=between", "between.share=0.25", *words, f"folder={tmp_path}/s")
    (_, images), g = held_out(run.source, 0, 6), run.surjection()
    wanted = 0.75 * g(images[:3]) + 0.25 * g(images[3:])
    lines = map(json.loads, (tmp_path / "s/metadata.jsonl").read_text().splitlines())
    found = torch.tensor([list(line["target"].values()) for line in lines])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


class Broken(TargetGuidance):
    """Forgets that sampling computes no gradients."""

    def correct(self, x0, here, which, strength):
        (gradient,) = torch.autograd.grad(self.surjection(x0.requires_grad_()).sum(), x0)
        return x0 - gradient


class Forgotten(TargetGuidance):
    """Doesn't call its base."""

    def __init__(self, operator, target, **_):
        pass


class Single(TargetGuidance):
    """Gives fewer images than it gets."""

    def correct(self, x0, here, which, strength):
        return x0[:1]


class Unwritten(TargetGuidance):
    """Says nothing."""


def wants_more(operator, y, *, length, **_):
    return length


@pytest.mark.slow
def test_a_guidance_that_fails_leaves_finished_results_where_they_are(run, tmp_path):
    words = (f"run={run.folder}", "count=2", "sampler.steps=4", f"folder={tmp_path}/s", "task=reconstruct")
    sample(configuration("sample", *words), tmp_path / "s")
    before = sorted(tmp_path.rglob("*"))
    schedule = {"_target_": "spnn.diffusion.ConstantStrength"}
    for config, message in (
        ({"_target_": "test_extending.Broken", "schedule": schedule}, "Broken fails on .* torch.enable_grad"),
        ({"_target_": "test_extending.Unwritten", "schedule": schedule}, "must implement correct"),
        ({"_target_": "test_extending.Forgotten"}, "Forgotten fails on .* no attribute"),
        ({"_target_": "test_extending.Single", "schedule": schedule}, r"Single must give .* of shape \[2, 1, 8, 8\]"),
        ({"_target_": "test_extending.Unwritten"}, "can't be made: .*'schedule'"),
        ({"_target_": "test_extending.wants_more"}, "can't be made: .*'length'"),
        ({"_target_": "test_extending.wants_more", "length": 3}, "but 3 can't be called"),
    ):
        asked = configuration("sample", *words)
        asked.guidance = {**config, "_partial_": True}
        with pytest.raises(InputError, match=message):
            sample(asked, tmp_path / "s")
    assert sorted(tmp_path.rglob("*")) == before


class Dots(Source):
    """Black or white squares."""

    image_shape, label_names = (1, 8, 8), ("white", "large")

    def split(self, name):
        labels = np.arange(40)[:, None] // [1, 2] % 2
        images = np.broadcast_to(255 * labels[:, 0, None, None, None], (40, 8, 8, 1)).astype(np.uint8)
        return ArrayDataset(images, self.labels_of(labels))

    def labels_of(self, labels):
        return labels


class Grey(Dots):
    """Labels that are no answers."""

    def labels_of(self, labels):
        return 128 * labels


def test_data_of_ones_own_need_a_source_alone(tmp_path):
    (tmp_path / "conf/data").mkdir(parents=True)
    for name in ("Dots", "Grey"):
        (tmp_path / f"conf/data/{name.lower()}.yaml").write_text(f"source: {{_target_: test_extending.{name}}}\n")
    (tmp_path / "conf/data/lost.yaml").write_text("source: {_target_: nowhere.Dots}\n")
    (tmp_path / "conf/data/none.yaml").write_text("flip: true\n")
    short = "stage.task.trainer={max_steps: 2, val_check_interval: 2}"
    words = ("train.py", f"--config-dir={tmp_path}/conf", "experiment=digits", "stages=[task]", short)
    assert "must name a source" in fail(*words, "data=none", f"folder={tmp_path}/r")
    found = fail(*words, "data=lost", f"folder={tmp_path}/r")
    assert "nowhere.Dots can't be imported and called: No module named 'nowhere'" in found and "PYTHONPATH" in found
    assert not (tmp_path / "r").exists()
    assert "white of image 1 is 128, but yes-or-no" in fail(*words, "data=grey", f"folder={tmp_path}/r")
    succeed(*words, "data=dots", f"folder={tmp_path}/r")  # nothing was trained there: it is tried again
    succeed(*words[:-1], "data=dots", "debug=fast", f"folder={tmp_path}/d")


@pytest.mark.nightly
def test_the_example_of_another_kind_of_y_trains_and_is_set(tmp_path):
    words = ["experiment=clocks", *(f"stage.{stage}.trainer.max_steps={n}" for stage, n in STEPS.items())]
    place = f"hydra.searchpath=[file://{REPOSITORY}/examples/own/conf]"
    train(configuration("train", place, *words, "callbacks.pictures=null"), tmp_path / "run")
    session = Session.load(tmp_path / "run")
    images, y = session.held_out(16)
    angles = torch.tensor([angle_of(image) for image in images])
    seen = torch.atan2(y[:, 1], y[:, 0]).rad2deg() % 360
    assert ((seen - angles + 180) % 360 - 180).abs().mean() < 20
    drawn = session.edit(images[:4], {"angle": 90}, start="noise", steps=20, guidance="nlbp")
    assert drawn.metrics["agreement"] == 1 and drawn.models.readout.words(drawn.problem.y[0]) == "angle 90"
    turned = session.sweep(images[:2], {"angle": [0, 120]}, start="noise", steps=20, guidance="nlbp")
    assert turned.images.shape == (4, 1, 16, 16) and turned.problem.labels == ["angle 0", "angle 120"]
    with pytest.raises(InputError, match="angle can't be swept by its name alone"):
        session.sweep(images[:2], "angle")
    found = session.evaluate("reconstruction", count=8, values={"sampler.steps": 5, "study.diversity_targets": 0})
    assert found["mae"] < 0.1
    with pytest.raises(InputError, match="cos, sin are only set together"):
        session.evaluate("edit", count=4)


def test_a_module_that_is_not_found_is_named_and_where_modules_are_looked_for():
    for config, name in (({"_target_": "nowhere.Dots"}, "nowhere.Dots"), ({"_target_": "spnn.Dots"}, "spnn.Dots")):
        with pytest.raises(InputError, match=f"{name} can't be imported: .* on PYTHONPATH"):
            instantiate(OmegaConf.create(config))


def test_a_task_that_is_not_there_is_named():
    for name, message in (("edits", "did you mean edit"), ("my.task", "the task my.task can't be imported")):
        with pytest.raises(InputError, match=message):
            find_task(name)


def test_an_own_network_is_trained(tmp_path):
    short = "stage.task.trainer={max_steps: 3, val_check_interval: 3}"
    folder = tmp_path / "run"
    succeed("train.py", OWN, "experiment=digits", "network=wide_digits", "stages=[task]", short, f"folder={folder}")
    net, y = Run(folder).surjection(), torch.randn(2, 10)
    torch.testing.assert_close(net(net.pinv(y)), y, atol=1e-4, rtol=1e-4)


class Polish(TaskStage):
    """Phase 1, for a second time."""

    continues = True


@pytest.mark.slow
def test_an_own_stage_goes_on_from_the_one_before_it_and_is_what_is_loaded(tmp_path):
    words = ("experiment=digits", "+stage@stage.polish=task", "stage.polish.module._target_=test_extending.Polish")
    words += ("callbacks.pictures=null",)
    words += tuple(
        f"stage.{name}.trainer={{max_steps: 2, val_check_interval: 2}}" for name in ("task", "polish", "inverse")
    )
    folder = tmp_path / "run"
    train(configuration("train", *words, "stages=[task,polish]"), folder)
    task, polish = (load_file(folder / name / "weights.safetensors") for name in ("task", "polish"))
    moved = max((polish[key] - task[key]).abs().max().item() for key in task)
    assert 0 < moved < 0.1  # on from the task's, which were not drawn anew
    loaded = Run(folder).surjection().state_dict()
    assert all(torch.equal(loaded[key], polish[key]) for key in polish)
    second = tmp_path / "second"
    train(configuration("train", *words, "stages=[inverse]", f"from_run={folder}"), second)
    inverse = load_file(second / "inverse/weights.safetensors")
    kept = [key for key in polish if ".r." not in key]
    assert kept and all(torch.equal(inverse[key], polish[key]) for key in kept)
    assert not all(torch.equal(inverse[key], polish[key]) for key in polish)
    with pytest.raises(InputError, match="was trained by polish, too, which this run doesn't know"):
        train(configuration("train", "experiment=digits", "stages=[inverse]", f"from_run={folder}"), tmp_path / "third")
    with pytest.raises(InputError, match="the stage `polish` starts from weights that another has trained: put `task`"):
        train(configuration("train", *words, "stages=[polish]"), tmp_path / "fourth")
