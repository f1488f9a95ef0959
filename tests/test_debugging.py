"""`debug=` does what it says, on digits; and every experiment trains with `debug=fast`."""

import csv
import json
import re

import pytest
import torch
from commands import REPOSITORY, check_configuration, succeed
from omegaconf import DictConfig
from PIL import Image

from spnn.data.layouts import write_faces, write_scenes
from spnn.training import train

EXPERIMENTS = sorted(path.stem for path in (REPOSITORY / "conf/experiment").glob("*.yaml"))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> dict[str, str]:
    """A few rendered faces in the layouts of CelebA and CelebA-HQ, scenes in Pascal VOC's, and pictures in class
    folders: how experiments begin, and the option that names their folder."""
    folder = tmp_path_factory.mktemp("images")
    write_faces(folder / "celeba", "celeba", train=4, val=2, test=2)
    write_faces(folder / "celebahq", "celebahq", train=16, val=2, test=2, size=256)
    write_scenes(folder / "voc", train=4, val=2, test=2)
    for i, name in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        (folder / "classes" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (32, 32), (60 * i, 10 * number, 0)).save(folder / "classes" / name / f"{number}.png")
    names = {"celeba_": "celeba", "celebahq_": "celebahq", "cifar10": "classes", "imagenet_": "classes", "voc_": "voc"}
    return {beginning: f"data.root={folder / name}" for beginning, name in names.items()}


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(name, marks=[pytest.mark.nightly] * name.startswith(("imagenet", "voc"))) for name in EXPERIMENTS],
)
def test_every_experiment_trains(experiment, images, tmp_path):
    options = [option for beginning, option in images.items() if experiment.startswith(beginning)]
    if experiment.startswith(("synthetic_faces", "scenes")):
        options = [f"data.source.cache={tmp_path}"]
    config = narrowed(check_configuration("train", f"experiment={experiment}", "debug=fast", *options))
    metrics = train(config, tmp_path / "run")
    assert {name.partition("/")[0] for name in metrics} == set(config.stages)
    assert all((tmp_path / "run" / stage / "weights.safetensors").exists() for stage in config.stages)


def narrowed(config: DictConfig) -> DictConfig:
    """The large architectures with a sixteenth of the channels inside, which take minutes else; the blocks, the layers
    and what passes between them stay. Mixing thousands of channels takes long, too, so they are not mixed."""
    if config.network.get("hidden"):
        config.network.mixing, config.network.hidden = "identity", 16
    if "s" in config.network.plan[0] or config.network.get("grid", 1) > 8:
        config.network.mixing = "identity"
        for block in config.network.plan:
            for name in {"s", "t", "st", "r"} & block.keys():
                block[name] = re.sub(r"(conv\d(?:/\d)?|up) (\d+)", lambda m: f"{m[1]} {int(m[2]) // 16}", block[name])
    if config.judge.get("grid", 1) > 8:
        config.judge.width //= 16
    if "AttnDownBlock2D" in config.prior.get("down_block_types", []):
        config.prior.block_out_channels = [width // 16 for width in config.prior.block_out_channels]
        config.prior.norm_num_groups, config.prior.attention_head_dim, config.prior.layers_per_block = 8, None, 1
        config.callbacks.pictures.images = config.stage.prior.batch_size = 1
    return config


@pytest.mark.parametrize("debug", ["overfit", "profile"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_debugging_fits_every_experiment(experiment, debug):
    config = check_configuration("train", f"experiment={experiment}", f"debug={debug}")
    assert {stage.trainer.max_steps for stage in config.stage.values()} <= {33, 200}


def test_fast_runs_from_the_command_line_and_keeps_out_of_the_way(tmp_path):
    config = check_configuration("train", "debug=fast")
    assert config.folder.startswith("outputs/debug/synthetic_faces/") and config.data.source.train == 16
    assert not check_configuration("train", "debug=fast", "experiment=celeba_attr_small").data.cache
    printed = succeed("train.py", "experiment=digits", "debug=fast", "stages=[judge]", f"folder={tmp_path}/run")
    assert "stage judge: 2 steps of batch 2" in printed


@pytest.mark.nightly
def test_overfit_learns_one_batch_by_heart(tmp_path):
    steps = [f"stage.{stage}.trainer.max_steps=60" for stage in ("task", "inverse", "prior", "judge")]
    options = ["experiment=digits", "debug=overfit", "callbacks.pictures=null", *steps]
    train(check_configuration("train", *options), tmp_path / "run")
    for stage, factor in {"task": 10, "inverse": 1.1, "prior": 50, "judge": 50}.items():
        losses = training_losses(tmp_path / "run" / stage)
        assert len(losses) == 60 and losses[0] > factor * losses[-1], stage


@pytest.mark.nightly
def test_overfit_repeats_one_batch_and_all_that_is_random(tmp_path):
    options = ["stages=[prior]", "stage.prior.trainer.max_steps=5", "stage.prior.module.optimizer.lr=0"]
    train(check_configuration("train", "experiment=digits", "debug=overfit", *options), tmp_path / "run")
    losses = training_losses(tmp_path / "run/prior")
    assert len(losses) == 5 and torch.tensor(losses).std() < 1e-6


def training_losses(folder) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.nightly
def test_profile_says_where_the_time_goes(tmp_path):
    config = check_configuration("train", "experiment=digits", "debug=profile", "stages=[judge]")
    train(config, tmp_path / "run")
    text = (tmp_path / "run/judge/profile.txt").read_text()
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    calls = {row[0]: int(row[-1]) for row in rows if len(row) > 5 and row[-1].isdigit()}
    assert calls["ProfilerStep*"] == 3 and calls["aten::convolution_backward"] == 9
    trace = json.loads((tmp_path / "run/judge/trace.json").read_text())
    assert any(event.get("name") == "aten::convolution_backward" for event in trace["traceEvents"])
