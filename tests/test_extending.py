"""Parts of a user's own, in a folder of configs and a module of theirs, are one word on the command line, too."""

import json

import pytest
import torch
from commands import REPOSITORY, configuration, succeed
from safetensors.torch import load_file

from spnn.errors import InputError
from spnn.runs import Run
from spnn.sampling.images import held_out
from spnn.sampling.tasks import find_task
from spnn.training import TaskStage, train

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
    for guidance in ("none", "sign"):
        succeed(*words, f"guidance={guidance}", f"folder={tmp_path}/{guidance}")
    plain, own = (json.loads((tmp_path / name / "metrics.json").read_text())["agreement"] for name in ("none", "sign"))
    assert own > plain + 0.03


@pytest.mark.slow
def test_an_own_task_poses_its_problem(run, tmp_path):
    words = (f"run={run.folder}", "count=3", "sampler.steps=3", "trainer.precision=32-true")
    succeed("sample.py", OWN, "task=between", "between.share=0.25", *words, f"folder={tmp_path}/s")
    (_, images), g = held_out(run.source, 0, 6), run.surjection()
    wanted = 0.75 * g(images[:3]) + 0.25 * g(images[3:])
    lines = map(json.loads, (tmp_path / "s/metadata.jsonl").read_text().splitlines())
    found = torch.tensor([list(line["target"].values()) for line in lines])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


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
