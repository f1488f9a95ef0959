"""`sample.py` on a run of digits: every task, what it leaves, and that nothing but seed and target decides an image."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import REPOSITORY, configuration, fail, succeed
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image
from safetensors.torch import load_file, save_file

from spnn import SPNN
from spnn.data import CELEBA_ATTRIBUTES
from spnn.errors import InputError
from spnn.runs import Run
from spnn.sampling import sample
from spnn.sampling.images import held_out

pytestmark = pytest.mark.slow


def sampled(folder: Path, *overrides: str) -> tuple[dict, dict[str, torch.Tensor], list[dict]]:
    """Metrics, tensors and metadata of a sampling."""
    metrics = sample(configuration("sample", "trainer.precision=32-true", *overrides), folder)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    return metrics, load_file(folder / "samples.safetensors"), lines


def test_reconstruction_leaves_all_that_it_says(run, tmp_path):
    metrics, samples, lines = sampled(tmp_path / "s", f"run={run.folder}", "count=4", "batch_size=3", "n_per_target=2")
    files = {path.name for path in (tmp_path / "s").iterdir()}
    assert files == {f"{i:05d}_{j}.png" for i in range(4) for j in range(2)} | {
        "grid.png", "metadata.jsonl", "metrics.json", "sample.yaml", "samples.safetensors"
    }  # fmt: skip
    assert Image.open(tmp_path / "s/00003_1.png").size == (8, 8)
    assert samples["image"].shape == (8, 1, 8, 8) and samples["y"].shape == (8, 10)
    assert [line["target_of"] for line in lines] == ["00000"] * 2 + ["00001"] * 2 + ["00002"] * 2 + ["00003"] * 2
    y = run.surjection()(held_out(run.source, 0, 4)[1])
    assert list(lines[5]["target"].values()) == pytest.approx(y[2].tolist(), abs=1e-3)
    assert list(lines[5]["achieved"].values()) == pytest.approx(samples["y"][5].tolist())
    assert not torch.allclose(samples["image"][4], samples["image"][5], atol=0.1)  # diverse
    assert metrics["agreement"] > 0.9 and metrics["judge_agreement"] > 0.85 and metrics["images_per_second"] > 0
    assert json.loads((tmp_path / "s/metrics.json").read_text()) == metrics


@pytest.mark.parametrize(
    "guidance", ["none", "naive", "nlbp", "nlbp_gentle", "nlbp_bounded", "nlbp_published", "gradient"]
)
def test_an_image_is_the_same_in_any_batch(guidance, run, tmp_path):
    options = (
        f"run={run.folder}",
        f"guidance={guidance}",
        "sampler.steps=5",
        "save=safetensors",
        "trainer.precision=32-true",
    )
    _, together, _ = sampled(tmp_path / "together", *options, "count=5", "batch_size=5")
    _, apart, _ = sampled(tmp_path / "apart", *options, "count=5", "batch_size=2")
    torch.testing.assert_close(apart["image"], together["image"], rtol=0, atol=1e-3)
    _, alone, _ = sampled(tmp_path / "alone", *options, "first=3", "count=1")
    torch.testing.assert_close(alone["image"], together["image"][3:4], rtol=0, atol=1e-3)


@pytest.mark.nightly
def test_two_devices_sample_what_one_does(run, tmp_path):
    options = (f"run={run.folder}", "count=5", "batch_size=1", "sampler.steps=10")
    devices = ("trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "trainer.precision=32-true")
    succeed("sample.py", *options, *devices, f"folder={tmp_path / 'two'}", fresh=True)
    _, one, lines = sampled(tmp_path / "one", *options)
    two = load_file(tmp_path / "two/samples.safetensors")
    torch.testing.assert_close(two["image"], one["image"], rtol=0, atol=1e-3)
    assert len((tmp_path / "two/metadata.jsonl").read_text().splitlines()) == len(lines) == 5


def test_a_killed_sampling_goes_on_where_it_ended(run, tmp_path):
    folder = tmp_path / "s"
    options = [f"run={run.folder}", "count=6", "batch_size=1", "sampler.steps=200", f"folder={folder}"]
    process = subprocess.Popen(
        [sys.executable, "sample.py", *options], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 300
    while len(list(folder.glob("unfinished/*.safetensors"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("unfinished/*.safetensors")}
    assert 2 <= len(finished) < 6
    pictures = {path.name: (folder / f"{int(path.stem):05d}.png").stat().st_mtime_ns for path in finished}
    printed = succeed("sample.py", *options)
    assert f"continuing; {len(finished)} of 6 images are there" in printed
    for name, written in pictures.items():  # not sampled again
        assert (folder / f"{int(Path(name).stem):05d}.png").stat().st_mtime_ns == written
    assert len(load_file(folder / "samples.safetensors")["image"]) == 6
    assert not (folder / "unfinished").exists()


def test_results_that_could_not_be_written_are_written_from_what_is_there(run, tmp_path, monkeypatch):
    options = (f"run={run.folder}", "count=2", "sampler.steps=2")

    def no_space(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as full_disk, pytest.raises(OSError, match="no space"):
        full_disk.setattr("spnn.sampling.run.save_metadata", no_space)
        sampled(tmp_path / "s", *options)
    written = (tmp_path / "s/00001.png").stat().st_mtime_ns
    metrics, samples, _ = sampled(tmp_path / "s", *options)
    assert len(samples["image"]) == 2 and metrics["images_per_second"] == 0  # none was sampled again
    assert (tmp_path / "s/00001.png").stat().st_mtime_ns == written
    assert (tmp_path / "s/grid.png").exists() and not (tmp_path / "s/unfinished").exists()


def test_a_multirun_of_runs_ends_with_one_table(run, tmp_path):
    other, sweep = tmp_path / "other", tmp_path / "sweep"
    shutil.copytree(run.folder, other)
    words = (
        f"run={run.folder},{other}",
        "guidance=none,nlbp",
        "count=10",
        "sampler.steps=20",
        f"hydra.sweep.dir={sweep}",
    )
    printed = succeed("sample.py", "-m", *words)
    with (sweep / "comparison.csv").open() as file:
        rows = {row["job"]: row for row in csv.DictReader(file)}
    assert list(rows) == [
        f"run={folder} guidance={word}" for folder in (run.folder, other) for word in ("none", "nlbp")
    ]
    plain, guided = (float(rows[f"run={other} guidance={word}"]["agreement"]) for word in ("none", "nlbp"))
    assert guided > plain + 0.05
    assert all(text in printed for text in ("agree %", "judge %", "images/s"))
    assert {path.parent.name for path in sweep.glob("*/grid.png")} == {"0", "1", "2", "3"}
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1", "2", "3"}  # nothing moved aside


def test_a_job_that_fails_is_in_the_table(run, tmp_path):
    words = ("task=edit", "edit.set={digit_8: 5},{digit8: 5}", "sampler.steps=3", f"hydra.sweep.dir={tmp_path}")
    fail("sample.py", "-m", f"run={run.folder}", *words)
    errors = [json.loads((tmp_path / f"{job}/job.json").read_text())["error"] for job in "01"]
    assert errors[0] is None and "there is no attribute 'digit8'" in errors[1]


def targets(lines: list[dict]) -> torch.Tensor:
    """The wanted logits, [N, K]; NaN where one is free."""
    return torch.tensor([[math.nan if v is None else v for v in line["target"].values()] for line in lines])


def test_edits_set_the_named_attributes_and_keep_the_others(run, tmp_path):
    y = run.surjection()(held_out(run.source, 0, 4)[1])
    options = (f"run={run.folder}", "task=edit", "edit.set={digit_8: 6, digit_1: 2%}", "edit.others=keep", "count=4")
    options += ("guidance=nlbp_gentle", "sampler.start=null")
    metrics, samples, lines = sampled(tmp_path / "s", *options)
    for i, line in enumerate(lines):
        assert line["target"]["digit_8"] == 6 and line["target"]["digit_1"] == pytest.approx(-3.8918, abs=1e-3)
        assert line["target"]["digit_4"] == pytest.approx(y[i, 4].item(), abs=1e-3)
    assert metrics["edit_success"] > 0.9 and "judge_edit_success" in metrics
    of_each = [(line["judge"]["digit_8"] > 0) == (line["target"]["digit_8"] > 0) for line in lines]
    of_each = [eight and line["judge"]["digit_1"] < 0 for eight, line in zip(of_each, lines, strict=True)]
    assert [line["took"] for line in lines] == of_each
    assert metrics["judge_edit_success"] == sum(of_each) / 4
    for line in lines:
        seen, given = line["judge"], line["judge_given"]
        differ = [name for name in seen if (seen[name] > 0) != (given[name] > 0)]
        assert line["set"].keys() == {"digit_1", "digit_8"} >= set(line["failed"])
        assert line["changed"] == [name for name in differ if name not in line["set"]]
    assert metrics["judge_side_effects"] == sum(len(line["changed"]) for line in lines) / 4
    assert sum(line["saturated"] for line in lines) / 4 == pytest.approx(metrics["saturated"])
    assert sum(line["fine_energy"] for line in lines) / 4 == pytest.approx(metrics["fine_energy"])
    assert (samples["y"][:, 8] > 0).float().mean() > 0.7
    assert metrics["given_saturated"] > 0 and 0 <= metrics["saturated"] <= 1


def test_the_others_follow_unless_they_are_kept_or_free(run, tmp_path):
    y = run.surjection()(held_out(run.source, 0, 4)[1])
    options = (f"run={run.folder}", "task=edit", "edit.set={digit_8: 2}", "count=4", "sampler.steps=3")
    shares = {"null": 1, "follow": 1, "1": 1, "0.5": 0.5, "0": 0, "keep": 0}
    for others, share in shares.items():
        wanted = targets(sampled(tmp_path / others, *options, f"edit.others={others}")[2])
        expected = run.training_outputs.follow(y, [8], torch.full((4, 1), 2.0), share)
        torch.testing.assert_close(wanted, expected, rtol=0, atol=1e-3)
    assert (run.training_outputs.follow(y, [8], torch.full((4, 1), 2.0)) - y).abs().mean() > 0.1
    free = targets(sampled(tmp_path / "free", *options, "edit.others=free")[2])
    assert free.isnan().sum(0).tolist() == [4] * 8 + [0, 4] and (free[:, 8] == 2).all()


def test_free_others_are_what_they_come_to_be_and_what_is_set_is_met(run, tmp_path):
    exact = ("guidance=nlbp_bounded", "guidance.exact=true", "count=4")
    _, samples, lines = sampled(
        tmp_path / "s", f"run={run.folder}", "task=edit", "edit.set={digit_8: 2}", "edit.others=free", *exact
    )
    assert samples["y"][:, 8].tolist() == pytest.approx([2.0] * 4, abs=1e-3)
    y = run.surjection()(held_out(run.source, 0, 4)[1])
    assert (samples["y"] - y)[:, :8].abs().mean() > 0.5
    assert [line["achieved"]["digit_8"] for line in lines] == pytest.approx([2.0] * 4, abs=1e-3)


def test_yes_and_no_are_what_training_images_show(run, tmp_path, caplog):
    y = run.surjection()(held_out(run.source, 0, 6)[1])
    options = (f"run={run.folder}", "task=edit", "edit.set={digit_8: yes, digit_3: no}", "count=6")
    metrics, _, lines = sampled(tmp_path / "s", *options, "edit.others=keep")
    wanted, outputs = targets(lines), run.training_outputs
    eight, three = outputs.typical(8, True, 0.95), outputs.typical(3, False, 0.95)
    expected_8 = torch.where(y[:, 8] >= outputs.typical(8, True, 0.2), y[:, 8], eight)  # what shows clearly stays
    expected_3 = torch.where(y[:, 3] <= outputs.typical(3, False, 0.2), y[:, 3], three)
    torch.testing.assert_close(wanted[:, 8], expected_8, rtol=0, atol=1e-3)
    torch.testing.assert_close(wanted[:, 3], expected_3, rtol=0, atol=1e-3)
    assert metrics["edit_success"] > 0.6  # both digits as set
    clearer = targets(sampled(tmp_path / "c", *options, "edit.quantile=0.99", "sampler.steps=3")[2])
    assert clearer[:, 8].min().item() == pytest.approx(outputs.typical(8, True, 0.99), abs=1e-3)
    options = (f"run={run.folder}", "task=generate", "generate.set={digit_8: yes}", "count=2", "sampler.steps=3")
    generated = targets(sampled(tmp_path / "g", *options)[2])
    assert generated[:, 8].tolist() == pytest.approx([outputs.typical(8, True, 0.95)] * 2, abs=1e-3)


def test_targets_that_no_image_comes_near_are_said_before_sampling(run, tmp_path, caplog):
    options = (f"run={run.folder}", "task=edit", "count=3", "sampler.steps=3")
    sampled(tmp_path / "near", *options, "edit.set={digit_8: yes}")
    assert "training image" not in caplog.text
    sampled(tmp_path / "free", *options, "edit.set={digit_8: 200}", "edit.others=free")
    assert "set far beyond what any training image shows: digit_8 = +200 " in caplog.text
    assert "targets combine logits" not in caplog.text
    sampled(tmp_path / "far", *options, "edit.set={digit_8: 200}", "edit.others=keep")
    assert "3 of 3 targets combine outputs as no training image does. The furthest, " in caplog.text
    sampled(tmp_path / "logit", *options, "edit.set={digit_8: 0.9}")
    assert "digit_8: 0.9 is a logit" in caplog.text


def test_broken_pictures_are_said_whatever_agrees(run, tmp_path, caplog):
    options = (f"run={run.folder}", "count=4")
    sampled(tmp_path / "whole", *options, "guidance=nlbp_gentle")
    assert "PICTURES ARE BROKEN" not in caplog.text
    unbounded = ("guidance=nlbp", "guidance/schedule=constant", "guidance.clip=false")
    metrics, *_ = sampled(
        tmp_path / "broken", *options, *unbounded, "task=edit", "edit.set={digit_8: 200}", "edit.others=keep"
    )
    assert metrics["fine_energy"] > 2 * metrics["given_fine_energy"]
    (said,) = (record.message for record in caplog.records if "PICTURES ARE BROKEN" in record.message)
    assert f"{metrics['fine_energy'] / metrics['training_fine_energy']:.1f} times the fine detail" in said
    assert said.endswith("Try guidance=nlbp_bounded, or set less.")


@pytest.mark.parametrize("kept", [{}, {"mean": torch.zeros(10)}])
def test_a_run_from_before_training_outputs_were_kept_can_be_edited(run, tmp_path, kept):
    old = Run.create(tmp_path / "old", run.config)
    old.take_weights_from(run)
    assert old.training_outputs_file.read_bytes() == run.training_outputs_file.read_bytes()
    old.training_outputs_file.unlink()
    if kept:  # by a version that knew less
        save_file(kept, old.training_outputs_file)
    options = ("task=edit", "edit.set={digit_8: yes}", "count=3", "sampler.steps=3")
    before, now = (
        targets(sampled(tmp_path / f"s{i}", f"run={which.folder}", *options)[2]) for i, which in enumerate((old, run))
    )
    torch.testing.assert_close(before, now, rtol=0, atol=1e-3)
    assert old.training_outputs_file.exists() == bool(kept)  # a run's folder is its training's


def test_an_edit_can_start_from_the_image_itself(run, tmp_path):
    images = held_out(run.source, 0, 6)[1]
    options = (f"run={run.folder}", "task=edit", "edit.set={digit_8: 1}", "edit.others=keep", "count=6")
    _, near, _ = sampled(tmp_path / "near", *options, "sampler.start=100")
    _, far, _ = sampled(tmp_path / "far", *options)
    assert (near["image"] - images).abs().mean() < (far["image"] - images).abs().mean()
    with pytest.raises(InputError, match="needs images to start from"):
        sampled(tmp_path / "x", f"run={run.folder}", "task=unconditional", "sampler.start=100")


def test_generation_draws_the_others_as_training_images_have_them(run, tmp_path):
    options = (
        f"run={run.folder}",
        "task=generate",
        "generate.set={digit_3: 2}",
        "count=3",
        "sampler.steps=3",
        "seed=5",
    )
    metrics, _, lines = sampled(tmp_path / "s", *options)
    known = run.training_outputs
    expected = known.follow(known.random([5, 6, 7]), [3], torch.full((3, 1), 2.0))
    torch.testing.assert_close(targets(lines), expected, rtol=0, atol=1e-3)
    assert metrics["training_saturated"] == pytest.approx(known.whole[0].item()) and "given" not in lines[0]
    with pytest.raises(InputError, match=r"generate.others must be random or free, got 'keep'"):
        sampled(tmp_path / "x", *options, "generate.others=keep")


def test_broken_pictures_are_told_without_given_ones(run, tmp_path, caplog):
    unbounded = ("guidance=nlbp", "guidance/schedule=constant", "guidance.clip=false", "generate.others=free")
    options = (f"run={run.folder}", "task=generate", "count=4", *unbounded)
    sampled(tmp_path / "s", *options, "generate.set={digit_8: 200}")
    assert "PICTURES ARE BROKEN" in caplog.text and "of training images" in caplog.text


def test_generation_meets_what_is_given_and_leaves_the_rest_free(run, tmp_path):
    metrics, samples, lines = sampled(
        tmp_path / "s",
        f"run={run.folder}",
        "task=generate",
        "generate.set={digit_3: 99%}",
        "generate.others=free",
        "guidance=nlbp_gentle",
        "count=8",
        "save=safetensors",
    )
    assert (samples["y"][:, 3] > 0).float().mean() > 0.8
    assert lines[0]["target"]["digit_0"] is None and lines[0]["target"]["digit_3"] > 4
    assert metrics["edit_success"] == metrics["agreement"]


@pytest.mark.parametrize("operator", ["inpainting", "super_resolution", "deblurring", "distorted"])
def test_restoration_meets_the_measurement(operator, run, tmp_path):
    small = {"super_resolution": ["operator.factor=2"], "deblurring": ["operator.kernel.sigma=0.8"]}
    options = [f"operator={operator}", *small.get(operator, [])]
    metrics, samples, lines = sampled(tmp_path / "s", f"run={run.folder}", "task=restore", *options, "count=6")
    assert metrics["gap"] < 0.1 and max(line["gap"] for line in lines) < 0.2
    unguided = sampled(tmp_path / "n", f"run={run.folder}", "task=restore", *options, "count=6", "guidance=none")[0]
    assert metrics["psnr"] > unguided["psnr"] + 2
    assert "y" in samples


def test_own_images_and_a_prior_in_closed_form(run, tmp_path):
    for i, image in enumerate(held_out(run.source, 0, 3)[1]):
        array = ((image[0].numpy() + 1) * 127.5).astype(np.uint8).repeat(5, 0).repeat(5, 1)
        Image.fromarray(array).save(tmp_path / f"mine_{i}.png")
    options = (f"run={run.folder}", "prior=gaussian_mixture", "task=restore", f"images={tmp_path}", "save=npz")
    sample(configuration("sample", *options, "trajectory=gif"), tmp_path / "s")
    assert {"mine_0.png", "mine_2.png", "trajectory.gif"} <= {path.name for path in (tmp_path / "s").iterdir()}
    assert np.load(tmp_path / "s/samples.npz")["image"].shape == (3, 1, 8, 8)
    with Image.open(tmp_path / "s/trajectory.gif") as gif:
        assert gif.n_frames > 10


def test_prior_and_operator_from_elsewhere_need_no_run(tmp_path):
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "prior")
    prior = ("prior=ddpm_celebahq_256", f"prior.repository={tmp_path / 'prior'}", "sampler.steps=4")
    _, samples, _ = sampled(tmp_path / "u", *prior, "task=unconditional", "count=2", "trajectory=strip")
    assert samples["image"].shape == (2, 3, 8, 8) and "y" not in samples
    assert (tmp_path / "u/trajectory.png").exists()
    Image.new("RGB", (9, 9), (200, 10, 10)).save(tmp_path / "mine.png")
    options = ("task=restore", "operator=super_resolution", f"images={tmp_path / 'mine.png'}", "restore.degraded=true")
    metrics, _, _ = sampled(tmp_path / "r", *prior, *options, "guidance.clip=false")
    assert metrics["gap"] < 1e-4 and "psnr" not in metrics
    net = SPNN((3, 8, 8), [{"unshuffle": 8, "hidden": 8}], outputs=40, names=CELEBA_ATTRIBUTES)
    net.save_pretrained(tmp_path / "net")
    options = ("operator=spnn_celebahq_256", "+operator.folder_or_repository=" + str(tmp_path / "net"))
    options += ("operator._target_=spnn.SPNN.from_pretrained", "~operator.source", f"images={tmp_path / 'mine.png'}")
    _, _, lines = sampled(tmp_path / "e", *prior, *options, "task=edit", "edit.set={Eyeglasses: 3}")
    assert lines[0]["target"]["Eyeglasses"] == 3 and len(lines[0]["achieved"]) == 40
    for asked in (["edit.set={Eyeglasses: yes}"], ["edit.set={Eyeglasses: 3}", "edit.others=follow"]):
        with pytest.raises(InputError, match="need to know the outputs of training images"):
            sampled(tmp_path / "x", *prior, *options, "task=edit", *asked)


def test_misuse_is_answered_before_anything_is_sampled_or_moved(run, tmp_path):
    kept = tmp_path / "s"
    sampled(kept, f"run={run.folder}", "count=1", "sampler.steps=3")
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def refused(message: str, *overrides: str) -> None:
        with pytest.raises(InputError, match=message):
            sampled(kept, f"run={run.folder}", *overrides)
        assert sorted(path.name for path in tmp_path.rglob("*")) == before

    refused(r"'digit8' \(did you mean digit_8", "task=edit", "edit.set={digit8: 4}")
    refused("nothing to set", "task=edit")
    refused("must be yes or no, a logit", "task=edit", "edit.set={digit_8: high}")
    refused(
        "edit.others must be keep, likely, follow, free", "task=edit", "edit.set={digit_8: yes}", "edit.others=most"
    )
    refused(
        "edit.others must be keep, likely, follow, free", "task=edit", "edit.set={digit_8: yes}", "edit.others=false"
    )
    refused("edit.quantile must lie between 0 and 1", "task=edit", "edit.set={digit_8: yes}", "edit.quantile=80")
    refused("generate.quantile must lie", "task=generate", "generate.set={digit_8: yes}", "generate.quantile=1")
    refused("test split has images 0 to", "count=1000")
    refused("there is no image or folder", "images=nowhere")
    refused("restore undoes a degradation", "task=restore", "operator=trained")
    refused("this task sets outputs by name", "task=edit", "operator=inpainting", "edit.set={digit_8: 4}")
    refused("has no weights yet", "prior=unet_digits")
    refused("saved as safetensors or npz", "save=pickle")
    refused("drawn as strip or gif", "trajectory=film")
    refused("batch_size must be", "batch_size=0")
    refused("would convert the operator's weights", "trainer.precision=bf16-true")
    refused("can't be averaged by squares", "task=restore", "operator=super_resolution", "operator.factor=3")
    refused(r"weights, not all zero|Expected|expected", "task=restore", "operator=colorization")


def test_a_prior_of_another_run_is_taken(run, tmp_path):
    other = Run.create(tmp_path / "other", run.config)
    other.take_weights_from(run, but=["prior", "task", "inverse", "judge"])
    with pytest.raises(InputError, match="has no trained prior"):
        sampled(tmp_path / "a", f"run={other.folder}", "task=unconditional", "count=1")
    _, samples, _ = sampled(
        tmp_path / "b",
        f"run={other.folder}",
        f"prior.run={run.folder}",
        "task=unconditional",
        "count=2",
        "sampler.steps=5",
    )
    assert len(samples["image"]) == 2 and "y" not in samples


def test_a_sampling_that_no_step_of_would_be_guided_is_refused(run, tmp_path):
    options = (f"run={run.folder}", "task=edit", "edit.set={digit_8: yes}", "sampler.start=10")
    with pytest.raises(InputError, match=r"no step is guided: sampling goes from t = 0 down"):
        sampled(tmp_path / "s", *options)
    assert not (tmp_path / "s").exists()
