"""Parts of a user's own, in a folder of configs and a module of theirs, are one word on the command line, too."""

import json

import pytest
import torch
from commands import REPOSITORY, succeed

from spnn.runs import Run

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


def test_an_own_network_is_trained(tmp_path):
    short = "stage.task.trainer={max_steps: 3, val_check_interval: 3}"
    folder = tmp_path / "run"
    succeed("train.py", OWN, "experiment=digits", "network=wide_digits", "stages=[task]", short, f"folder={folder}")
    net, y = Run(folder).surjection(), torch.randn(2, 10)
    torch.testing.assert_close(net(net.pinv(y)), y, atol=1e-4, rtol=1e-4)
