"""What samples are asked for, what they are taken from, and how they are kept."""

import errno
import json
import math
import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from spnn import Bijection
from spnn.data import CELEBA_ATTRIBUTES, Digits
from spnn.data.files import find_images, load_image
from spnn.diffusion import BackProjection, GaussianMixturePrior, NoiseSchedule, PiecewiseStrength, Sampler
from spnn.errors import InputError
from spnn.metrics import agreement_with, measurement_metrics, pixel_metrics
from spnn.operators import AveragePool, inpainting
from spnn.outputs import TrainingOutputs
from spnn.readout import LOGITS, VALUES, Binary
from spnn.runs import alone_in
from spnn.sampling.drawn import Drawn, View
from spnn.sampling.generate import Request, check_guidance
from spnn.sampling.images import held_out, own_images
from spnn.sampling.models import Models, freeze
from spnn.sampling.pictures import file_name, save_animation
from spnn.sampling.run import request
from spnn.sampling.store import SampleStore
from spnn.sampling.targets import beyond_range, contradictions, far_targets, set_values, share_of
from spnn.sampling.tasks import Problem, pose
from spnn.saving import save_json


def picture(path, color=(255, 0, 0), size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)
    return path


def test_values_are_yes_or_no_logits_or_probabilities():
    assert LOGITS.read("Bald", -4) == -4.0 and LOGITS.read("Bald", 2.5) == 2.5
    assert LOGITS.read("Bald", "90%") == pytest.approx(math.log(9))
    assert LOGITS.read("Bald", " 2.5 %") == pytest.approx(math.log(0.025 / 0.975))
    assert LOGITS.read("Bald", "yes") is True is LOGITS.read("Bald", True)
    assert LOGITS.read("Bald", "no") is False is LOGITS.read("Bald", False)
    assert not isinstance(LOGITS.read("Bald", 1), bool)
    for value in ("0%", "100%", "120%"):
        with pytest.raises(InputError, match="lies between 0 and 100 %"):
            LOGITS.read("Bald", value)
    for value in (0, 0.0, "50%"):
        with pytest.raises(InputError, match="says neither yes nor no"):
            LOGITS.read("Bald", value)
    for value in ("high", "4", "Yes!", None, float("nan"), float("inf"), 1e30, -1001, [1]):
        with pytest.raises(InputError, match="the value of Bald must be yes or no, a logit"):
            LOGITS.read("Bald", value)


def test_set_values_leaves_the_others_and_the_original():
    y = torch.randn(2, 40)
    values = OmegaConf.create({"Eyeglasses": 4, "Smiling": "20%"})
    changed, which = set_values(y, Binary(CELEBA_ATTRIBUTES), values, "edit.set")
    assert [CELEBA_ATTRIBUTES[i] for i in which.nonzero().flatten()] == ["Eyeglasses", "Smiling"]
    assert torch.equal(changed[:, ~which], y[:, ~which])
    assert changed[0, which].tolist() == pytest.approx([4.0, math.log(0.25)])
    assert not torch.equal(changed, y)
    with pytest.raises(InputError, match=r"'Glasses' \(did you mean Eyeglasses"):
        set_values(y, Binary(CELEBA_ATTRIBUTES), {"Glasses": 1}, "edit.set")
    for nothing in (None, {}, "Eyeglasses"):
        with pytest.raises(InputError, match=r"nothing to set: give `edit\.set="):
            set_values(y, Binary(CELEBA_ATTRIBUTES), nothing, "edit.set")


NAMES = ("a", "b", "c")


def known() -> TrainingOutputs:
    """Of logits that go up and down together; no image has c."""
    y = torch.randn(300, 1) + 0.5 * torch.randn(300, 3)
    return TrainingOutputs.of(y, (y > 0).float() * torch.tensor([1.0, 1.0, 0.0]))


def test_yes_is_at_least_typical_and_never_pulls_back_what_shows_more():
    outputs, y = known(), torch.tensor([[-9.0, -9, -9], [0, 0, 0], [9, 9, 9]])
    typical, clear = outputs.typical(0, True, 0.95), outputs.typical(0, True, 0.2)
    kept, _ = set_values(torch.full((1, 3), clear + 0.01), Binary(NAMES), {"a": "yes"}, "edit.set", outputs, share=1)
    torch.testing.assert_close(kept, torch.full((1, 3), clear + 0.01))  # it shows already: nothing moves
    yes, which = set_values(y, Binary(NAMES), {"a": "yes"}, "edit.set", outputs)
    assert yes[:, 0].tolist() == pytest.approx([typical, typical, 9]) and typical > 0
    assert torch.equal(yes[:, 1:], y[:, 1:]) and which.tolist() == [True, False, False]
    untypical = outputs.typical(0, False, 0.95)
    no, _ = set_values(y, Binary(NAMES), {"a": False}, "edit.set", outputs)
    assert no[:, 0].tolist() == pytest.approx([-9, untypical, untypical]) and untypical < 0
    clearer, _ = set_values(y, Binary(NAMES), {"a": True}, "edit.set", outputs, quantile=0.99)
    assert clearer[0, 0] == pytest.approx(outputs.typical(0, True, 0.99)) and clearer[0, 0] > typical


def test_the_other_logits_follow_by_a_share_and_those_that_are_set_do_not():
    outputs, y = known(), torch.randn(4, 3)
    values = {"c": 2.0, "a": "yes"}
    set_, which = set_values(y, Binary(NAMES), values, "edit.set", outputs)
    followed, also = set_values(y, Binary(NAMES), values, "edit.set", outputs, share=0.4)
    assert which.tolist() == also.tolist() == [True, False, True]
    assert torch.equal(followed[:, which], set_[:, which]) and torch.equal(set_[:, 1], y[:, 1])
    expected = outputs.follow(y, [2, 0], set_[:, [2, 0]], 0.4)
    torch.testing.assert_close(followed, expected)
    assert (followed[:, 1] > y[:, 1]).any()


def test_what_needs_training_outputs_says_so_where_there_are_none():
    y = torch.zeros(1, 3)
    for values, share in (({"a": "yes"}, 0.0), ({"a": False}, 0.0), ({"a": 4}, 0.5)):
        with pytest.raises(InputError, match=r"of at most \d+ outputs: give numbers in `edit\.set`"):
            set_values(y, Binary(NAMES), values, "edit.set", share=share)
    with pytest.raises(InputError, match=r"no training image has c, so yes says nothing: .* edit\.set='{c: 4}'"):
        set_values(y, Binary(NAMES), {"c": "yes"}, "edit.set", known())
    assert set_values(y, Binary(NAMES), {"c": "no"}, "edit.set", known())[0][0, 2] < 0


def test_others_are_kept_follow_or_follow_by_a_share():
    found = [share_of(others, "edit.others") for others in ("keep", "follow", 0, 0.25, 1, "likely")]
    assert found == [0, 1, 0, 0.25, 1, "likely"]
    for others in ("free", "kept", "0.5", -0.1, 1.5, True, None, float("nan")):
        with pytest.raises(InputError, match=r"edit\.others must be keep, likely, follow, free, or a share from 0"):
            share_of(others, "edit.others")


def test_far_targets_are_counted_and_the_farthest_is_named():
    outputs = known()
    y = outputs.mean + outputs.covariance.diagonal().sqrt() * torch.tensor([[0.0, 0, 0], [0, 9, 0], [0, 0, -18]])
    readout = Binary(NAMES)
    assert far_targets(["x"], y[:1], readout, outputs) is None
    assert far_targets(["z"], y[2:], readout, outputs).startswith(
        "the target combines outputs as no training image does. It"
    )
    said = far_targets(["x", "y", "z"], y, readout, outputs)
    distance, usual = outputs.far(y)
    assert said.startswith("2 of 3 targets combine outputs as no training image does. The furthest, z, is at ")
    assert f"at {distance[2]:.1f} deviations (99 % of training images: at most {usual:.1f}), above all by c = -" in said
    k, expected, deviation = outputs.strangest(y[2])
    slope = outputs.covariance[2, :2] @ torch.linalg.inv(outputs.covariance[:2, :2])
    assert k == 2 and expected == pytest.approx(
        (outputs.mean[2] + slope @ (y[2, :2] - outputs.mean[:2])).item(), abs=0.01
    )
    left = outputs.covariance[2, 2] - slope @ outputs.covariance[:2, 2]
    assert deviation == pytest.approx(left.sqrt().item(), rel=0.01)
    assert "edit.others=likely" in said
    assert "edit.others" not in far_targets(["x", "y", "z"], y, readout, outputs, share=1)


def test_others_follow_no_further_than_makes_a_target_likely():
    outputs = known()
    y, readout = outputs.mean.repeat(3, 1), Binary(NAMES)
    deviation = outputs.covariance.diagonal().sqrt()
    values = (outputs.mean[0] + deviation[0] * torch.tensor([0.1, 2.2, 9.0]))[:, None]
    found, usual = outputs.likely(y, [0], values), outputs.distance[99]
    followed = outputs.follow(y, [0], values)
    assert torch.equal(found[:, 0], values[:, 0])
    assert torch.equal(found[0, 1:], y[0, 1:])  # likely by itself
    assert outputs.far(found)[0][0] <= usual < outputs.far(found)[0][2]
    kept = outputs.far(outputs.follow(y, [0], values, 0.0))[0]
    for i in range(3):
        assert outputs.far(found[i : i + 1])[0] <= min(kept[i], max(usual, outputs.far(followed[i : i + 1])[0])) + 1e-5
    by_task, which = set_values(y[:1], readout, {"a": values[1].item()}, "edit.set", outputs, share="likely")
    assert torch.equal(by_task, outputs.likely(y[:1], [0], values[1:2])) and which.tolist() == [True, False, False]


def test_a_value_beyond_all_training_images_is_named_whatever_the_others_do():
    outputs = known()
    low, high = outputs.range
    assert (low < outputs.mean).all() and (outputs.mean < high).all()
    y, readout = outputs.mean.repeat(2, 1), Binary(NAMES)
    assert beyond_range(y[:, [0, 2]], [0, 2], readout, outputs) is None
    y[1] = torch.stack([high[0] + 9, high[1] + 9, low[2] - 9])
    said = beyond_range(y[:, [0, 2]], [0, 2], readout, outputs)
    assert f"a = {high[0] + 9:+.3g} (training images: {low[0]:+.3g} to {high[0]:+.3g})" in said
    assert f"c = {low[2] - 9:+.3g}" in said and "b = " not in said
    y[1, [0, 2]] = torch.nan  # set in another image alone
    assert "a = " not in (said := beyond_range(y, [0, 1, 2], readout, outputs)) and "b = " in said


def test_a_number_that_may_have_been_meant_as_a_probability_is_questioned():
    assert "0.9 is a logit, a probability of 71%; the probability 0.9 is written 90%" in LOGITS.doubt("a", 0.9)
    assert [LOGITS.doubt("a", value) for value in (1, 0.0, -0.5, 4.5, "90%", "yes", True)] == [None] * 7
    assert VALUES.doubt("a", 0.9) is None


def test_images_are_cropped_around_the_middle_turned_and_scaled(tmp_path):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255  # the middle square is white
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (load_image(tmp_path / "wide.png", (3, 8, 8)) == 1).all()
    assert load_image(tmp_path / "wide.png", (1, 4, 8)).shape == (1, 4, 8)
    turned = Image.new("L", (2, 4))
    turned.putpixel((0, 0), 255)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    assert load_image(tmp_path / "turned.png", (1, 4, 2))[0, 3, 1] == 1


def test_image_files_are_found_in_files_folders_and_lists(tmp_path):
    for name in ("b.JPG", "a.png", "c.webp"):
        picture(tmp_path / "folder" / name)
    (tmp_path / "folder/notes.txt").write_text("no image")
    single = picture(tmp_path / "single.png")
    assert [path.name for path in find_images(tmp_path / "folder")] == ["a.png", "b.JPG", "c.webp"]
    assert find_images([str(single), str(tmp_path / "folder")])[0].name == "single.png"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        find_images(tmp_path / "empty")
    with pytest.raises(InputError, match="there is no image or folder"):
        find_images(tmp_path / "missing")


def test_files_that_are_no_images_are_named(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>quota exceeded</html>")
    with pytest.raises(InputError, match=r"page\.jpg can't be read as an image"):
        load_image(tmp_path / "page.jpg", (3, 8, 8))
    whole = picture(tmp_path / "whole.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.jpg can't be read as an image"):
        load_image(tmp_path / "cut.jpg", (3, 8, 8))


def test_own_images_of_one_name_stay_apart(tmp_path):
    for path in ("x/face.png", "y/face.png", "y/face.jpg", "y/other.png"):
        picture(tmp_path / path)
    names, images = own_images([str(tmp_path / "x"), str(tmp_path / "y")], 0, None, (3, 8, 8))
    assert len(set(names)) == 4 and names[-1] == "other" and images.shape == (4, 3, 8, 8)
    assert own_images(str(tmp_path / "y"), 1, 1, (3, 8, 8))[0] == ["face"]
    with pytest.raises(InputError, match=r"3 images were found in .*; images 2 to 4 were requested"):
        own_images(str(tmp_path / "y"), 2, 3, (3, 8, 8))


def test_own_images_that_differ_in_their_endings_or_in_case_keep_their_names_apart(tmp_path):
    for name in ("a.jpg", "a.png", "B.png", "b.bmp", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    names, _ = own_images(str(tmp_path), 0, None, (3, 8, 8))
    folder = tmp_path.name
    assert names == [f"{folder}_B_png", f"{folder}_a_jpg", f"{folder}_a_png", f"{folder}_b_bmp", "c"]


@pytest.mark.parametrize("hidden", ["centre", "left", "right", "top", "bottom", "random"])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_masks_hide_the_share_that_is_asked(hidden, share):
    operator = inpainting((3, 16, 16), hidden, share)
    seen = operator.pinv(operator(torch.ones(1, 3, 16, 16)))[0]
    assert seen.mean().item() == pytest.approx(1 - share, abs=0.04)
    borders = {"left": seen[0, :, 0], "right": seen[0, :, -1], "top": seen[0, 0], "bottom": seen[0, -1]}
    if hidden in borders:
        assert [side for side, pixels in borders.items() if not pixels.any()] == [hidden]
    if hidden == "centre":
        assert seen[0, 8, 8] == 0 and all(pixels.all() for pixels in borders.values())


def test_a_drawn_mask_hides_what_is_white(tmp_path):
    drawn = np.zeros((32, 32), np.uint8)
    drawn[:16] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    operator = inpainting((3, 8, 8), tmp_path / "mask.png")
    seen = operator.pinv(operator(torch.ones(1, 3, 8, 8)))[0]
    assert (seen[:, :4] == 0).all() and (seen[:, 4:] == 1).all()
    Image.fromarray(drawn * 0).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("no image")
    for hidden, message in (("black.png", "hides nothing"), ("text.png", "can't be read"), ("middle", "is one of")):
        with pytest.raises(InputError, match=message):
            inpainting((3, 8, 8), tmp_path / hidden)
    with pytest.raises(InputError, match="share"):
        inpainting((3, 8, 8), "left", 1.5)


def restoration(tmp_path, **options):
    models = SimpleNamespace(
        operator=AveragePool(2, (3, 8, 8)), readout=VALUES, run=None, prior=SimpleNamespace(image_shape=(3, 8, 8))
    )
    config = {"task": "restore", "images": str(tmp_path), "first": 0, "count": None, "restore": {"degraded": False}}
    return pose(OmegaConf.create(config | options), models, models.operator)


def test_restoration_degrades_clean_images_and_takes_degraded_ones_as_they_are(tmp_path):
    picture(tmp_path / "a.png", (255, 255, 255), (64, 64))
    clean = restoration(tmp_path)
    assert clean.clean and clean.images.shape == (1, 3, 8, 8) and clean.y.shape == (1, 3, 4, 4)
    degraded = restoration(tmp_path, restore={"degraded": True})
    assert degraded.images is None and torch.equal(degraded.y, torch.ones(1, 3, 4, 4))
    with pytest.raises(InputError, match=r"degraded=true takes your own degraded images"):
        restoration(tmp_path, restore={"degraded": True}, images=None)
    with pytest.raises(InputError, match="needs images"):
        restoration(tmp_path, images=None)
    with pytest.raises(InputError, match="this task sets outputs by name"):
        restoration(tmp_path, task="edit", edit={"set": {"Bald": 3}})


def requested(problem: Problem, copies: int) -> Request:
    config = OmegaConf.create({"seed": 2, "first": 3, "n_per_target": copies, "trajectory": None})
    return request(config, problem, lambda *_, **__: None, None)


def test_seeds_of_a_target_do_not_depend_on_how_many_samples_it_has():
    problem = Problem(["a", "b"], torch.randn(2, 3))
    one, three = requested(problem, 1).rows(), requested(problem, 3).rows()
    assert one["seed"].tolist() == [5, 6]
    assert three["seed"][::3].tolist() == [5, 6] and len(set(three["seed"].tolist())) == 6
    assert torch.equal(three["y"], problem.y.repeat_interleave(3, 0))


def test_every_sample_has_its_row_of_free_coordinates():
    free = torch.tensor([True, False, True])
    asked = requested(Problem(["a", "b"], torch.randn(2, 3), free=free), 2).rows()
    assert asked["free"].tolist() == [free.tolist()] * 4
    assert "free" not in requested(Problem(["a", "b"], torch.randn(2, 3)), 2).rows()


def store(folder, count=5) -> SampleStore:
    return SampleStore(folder, [f"{i:05d}" for i in range(count)])


ASKED = {"seed": torch.arange(5), "y": torch.arange(10.0).reshape(5, 2)}
CONFIG = OmegaConf.create({"seed": 0, "batch_size": 2, "trainer": {"devices": 1, "precision": "32-true"}})


def batch(*index: int) -> dict[str, torch.Tensor]:
    return {"index": torch.tensor(index), "image": torch.tensor(index)[:, None, None, None].expand(-1, 3, 4, 4) / 10}


def test_an_interrupted_sampling_goes_on_with_what_is_missing(tmp_path):
    first = store(tmp_path / "s")
    assert not first.open(CONFIG, "sample.yaml", ASKED)
    first.add(batch(3, 1))
    (first.parts / "00000000.writing").write_bytes(b"half of a file")  # as a killed process leaves it
    again = store(tmp_path / "s")
    faster = OmegaConf.merge(CONFIG, {"batch_size": 50, "trainer": {"devices": 8}})
    assert again.open(faster, "sample.yaml", ASKED)
    assert again.missing() == [0, 2, 4]
    again.add(batch(0, 2, 4))
    assert again.collect()["image"][:, 0, 0, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert len(list((tmp_path / "s").glob("*.png"))) == 5
    again.close()
    assert not store(tmp_path / "s").open(CONFIG, "sample.yaml", ASKED)  # a finished one is kept beside
    assert len(list(tmp_path.glob("s.*/00004.png"))) == 1


@pytest.mark.parametrize("full", [False, True], ids=["in a file", "in memory as the disk is full"])
def test_many_images_lie_in_a_file_and_are_the_same(full, tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("spnn.sampling.room._LARGE", 0)
    if full:
        monkeypatch.setattr(os, "posix_fallocate", no_space)
    drawn = store(tmp_path / "s")
    drawn.open(CONFIG, "sample.yaml", ASKED)
    drawn.add({**batch(3, 1), "frames": torch.tensor([1.0])[:, None]})  # of the first two samples alone
    drawn.add({**batch(4, 0, 2), "frames": torch.tensor([0.0])[:, None]})
    found = drawn.collect()
    assert found["image"][:, 0, 0, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert found["frames"].tolist() == [[0], [1]]
    picture(tmp_path / "own/a.png")
    names, images = own_images(str(tmp_path / "own"), 0, None, (3, 8, 8))
    assert names == ["a"] and torch.equal(images[0], load_image(tmp_path / "own/a.png", (3, 8, 8)))
    names, images = held_out(Digits(), 2, 3)
    test = Digits().split("test")
    assert torch.equal(images[1], test[3]["image"] / 127.5 - 1) and names == ["00002", "00003", "00004"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"trainer": {"precision": "bf16-mixed"}},
        {"y": ASKED["y"] + 1},
        {"image": torch.zeros(5, 1)},
        {"free": torch.tensor([True, False]).repeat(5, 1)},
    ],
    ids=["an option", "precision", "targets", "images", "free coordinates"],
)
def test_another_sampling_does_not_go_on_with_an_interrupted_one(change, tmp_path):
    first = store(tmp_path / "s")
    first.open(CONFIG, "sample.yaml", ASKED)
    first.add(batch(3, 1))
    tensors = {key: value for key, value in change.items() if isinstance(value, torch.Tensor)}
    options = {key: value for key, value in change.items() if key not in tensors}
    assert not store(tmp_path / "s").open(OmegaConf.merge(CONFIG, options), "sample.yaml", ASKED | tensors)
    assert store(tmp_path / "s").missing() == [0, 1, 2, 3, 4]
    assert len(list(tmp_path.glob("s.*/00003.png"))) == 1  # nothing is lost


def test_a_sampling_goes_on_with_the_same_free_coordinates_alone(tmp_path):
    asked = ASKED | {"free": torch.tensor([True, False]).repeat(5, 1)}
    first = store(tmp_path / "s")
    first.open(CONFIG, "sample.yaml", asked)
    first.add(batch(3, 1))
    assert store(tmp_path / "s").open(CONFIG, "sample.yaml", asked)
    assert not store(tmp_path / "s").open(CONFIG, "sample.yaml", asked | {"free": ~asked["free"]})


def test_metrics_count_what_was_asked_for():
    wanted = torch.tensor([[3.0, -3, 3], [3, 3, -3]])
    y = torch.tensor([[2.0, 2, -2], [2, 2, 2]])
    assert agreement_with(y, wanted)["agreement"] == pytest.approx(3 / 6)
    masked = agreement_with(
        y, wanted, free=torch.tensor([False, False, True]), edited=torch.tensor([True, False, False])
    )
    assert masked["agreement"] == pytest.approx(3 / 4) and masked["edit_success"] == 1
    assert agreement_with(y, wanted, edited=torch.tensor([True, False, True]))["edit_success"] == 0  # all, in none
    x, clean = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), 0.3)
    measured = measurement_metrics(torch.ones(1, 4), torch.zeros(1, 4), x, clean)
    assert measured["gap"] == 1 and measured["psnr"] == pytest.approx(20.0, abs=1e-3)
    assert pixel_metrics(x) == {"finite": 1.0, "largest_pixel": 0.5, "saturated": 0.0, "fine_energy": 0.0}
    assert pixel_metrics(2 * x)["saturated"] == 1
    assert pixel_metrics(x / 0)["finite"] == 0.0


def test_broken_pictures_are_told_beside_training_images_or_given_ones_whichever_are_nearer():
    given = {"given_saturated": 0.0, "given_fine_energy": 0.02}
    training = {"training_saturated": 0.4, "training_fine_energy": 0.2}

    def drawn(saturated: float, fine_energy: float, beside: dict) -> Drawn:
        metrics = {"saturated": saturated, "fine_energy": fine_energy} | beside
        return Drawn(torch.zeros(1, 3, 8, 8), None, Problem(["a"], None), metrics, None, [])

    assert drawn(0.001, 0.02, given).verdict is None
    assert "50.0 % of their values are black or white (the given images: 0.0 %)" in drawn(0.5, 0.2, given).verdict
    assert "10.0 times the fine detail of the given images" in drawn(0.5, 0.2, given).verdict
    assert drawn(0.5, 0.2, given | training).verdict is None is drawn(0.001, 0.02, given | training).verdict
    assert "training images" in drawn(0.99, 0.2, given | training).verdict
    assert drawn(0.5, 0.2, {}).verdict is None  # beside nothing


def test_an_operator_of_ones_own_must_be_undone_by_its_pseudo_inverse():
    class Doubling(Bijection):
        def __init__(self, factor: float):
            super().__init__()
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        def inverse(self, y: torch.Tensor) -> torch.Tensor:
            return y / self.factor

    prior = GaussianMixturePrior.isotropic(torch.zeros(1, 3, 4, 4), deviation=1.0)
    for factor, wrong in ((2, False), (1, True)):
        models = Models(prior, Doubling(factor), VALUES, None, None)
        if wrong:
            with pytest.raises(InputError, match=r"Doubling\.pinv\(y\) is not a right inverse: .* by 1e\+02 %"):
                freeze(models)
        else:
            freeze(models)


def test_a_picture_that_loses_more_than_half_is_named(tmp_path, caplog):
    for name, size in (("wide", (90, 10)), ("usual", (12, 10))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    own_images(tmp_path, 0, None, (3, 8, 8))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.endswith("much wider or taller: wide.png")


def test_what_became_of_edits_is_said_in_words():
    names = ("a", "b", "c", "d")
    given = torch.tensor([[-1.0, -1, 1, 1], [1, -1, 1, 1], [-1, -1, 1, 1]])
    wanted, edited = given.clone(), torch.tensor([True, True, False, False])
    wanted[:, :2] = torch.tensor([2.0, -2])
    found = torch.tensor([[1.0, -1, 1, -1], [1, -1, -1, -1], [-1, 1, 1, 1]])
    view = View("the judge", "judge_", Binary(names), found, wanted, given)
    assert view.took(edited).tolist() == [True, True, False] and view.before(edited).tolist() == [False, True, False]
    assert view.changed(edited).tolist() == [[False] * 3 + [True], [False] * 2 + [True] * 2, [False] * 4]
    problem = Problem(["0", "1", "2"], wanted, edited=edited, images=torch.zeros(3, 3, 4, 4))
    models = Models(None, None, Binary(names), None, None)
    took, changed = Drawn(torch.zeros(3, 3, 4, 4), None, problem, {}, models, [view]).in_words()
    assert took == (
        "By the judge, 1 of 2 edits took; 1 of 1 images that showed what was set still do; missing: a in 1, b in 1."
    )
    assert changed.startswith("On average 1.0 of the 2 other labels changed: d in 2, c in 1.")


def test_pairs_that_hardly_any_training_image_shows_are_named():
    has = torch.rand(4000, 3) < torch.tensor([0.3, 0.3, 0.5])
    has[:, 1] &= ~has[:, 0]  # never together
    has[:, 2] |= has[:, 0]  # never the first without the third
    outputs = TrainingOutputs.of(torch.where(has, 3.0, -3.0) + torch.randn(4000, 3), has.float())
    pairs = {
        (1, 1, 0): "a yes with b yes", (1, 0, -1): "a yes with c no", (1, 0, 1): None, (-1, 0, -1): None,
        (0, 1, -1): None,
    }  # fmt: skip
    for signs, said in pairs.items():
        y = 2.0 * torch.tensor([signs])
        found = contradictions(y, y[0].nonzero().squeeze(1).tolist(), Binary(["a", "b", "c"]), outputs)
        assert found is None if said is None else said in found


def test_few_guided_steps_are_said(caplog):
    models = Models(None, AveragePool(2, (1, 8, 8)), VALUES, None, None)
    for start, expected in ((95, "only 8 of 20 steps are guided, from t = 95 down"), (400, "")):
        sampler = Sampler(NoiseSchedule(), 200, start=start)
        guidance = partial(BackProjection, schedule=PiecewiseStrength([(60, 1.0), (0, 0.0)]))
        rows = torch.tensor([0]), torch.zeros(1, 1, 4, 4), None
        request = Request(guidance, ["a"], *rows, sampler, images=torch.zeros(1, 1, 8, 8))
        caplog.clear()
        check_guidance(models, request)
        assert expected in caplog.text and bool(expected) == bool(caplog.text)


def test_an_animation_has_a_picture_per_frame(tmp_path):
    save_animation(torch.rand(2, 5, 3, 8, 8) * 2 - 1, tmp_path / "t.gif")
    with Image.open(tmp_path / "t.gif") as gif:
        assert gif.n_frames == 5 and gif.size == (256, 128)


def test_any_names_can_be_set_by_a_list_or_a_file(tmp_path):
    names = ("C#", "it's", "Age<30", "Lächeln", "a=b")
    y, readout = torch.zeros(1, 5), Binary(names)
    listed, which = set_values(y, readout, ["C#=3", "a=b=98%", "Lächeln=-2"], "edit.set")
    assert listed[0].tolist() == pytest.approx([3, 0, 0, -2, math.log(49)]) and which.tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]
    (tmp_path / "edit.yaml").write_text("it's: 2\nAge<30: -1\n", encoding="utf-8")
    assert set_values(y, readout, f"{tmp_path}/edit.yaml", "edit.set")[0][0].tolist() == [0, 2, -1, 0, 0]
    with pytest.raises(InputError, match="holds name=value"):
        set_values(y, readout, ["C#"], "edit.set")
    with pytest.raises(InputError, match=r"nothing to set: .* Got missing\.yaml"):
        set_values(y, readout, "missing.yaml", "edit.set")


def test_every_depth_of_pixels_is_read_or_named(tmp_path):
    grey = np.array([[0, 20000], [40000, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "deep.tif")
    for name in ("deep.png", "deep.tif"):
        read = (load_image(tmp_path / name, (1, 2, 2)) + 1) * 127.5
        assert read[0].tolist() == [[0, 78], [156, 255]]
    for name, values in (("whole.tif", grey.astype(np.int32)), ("float.tif", grey.astype(np.float32))):
        Image.fromarray(values).save(tmp_path / name)
        with pytest.raises(InputError, match=f"{name} can't be read as an image: its pixels are 32-bit numbers"):
            load_image(tmp_path / name, (1, 2, 2))
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    clear.quantize().save(tmp_path / "palette.png")
    assert (load_image(tmp_path / "clear.png", (3, 2, 2)) == 1).all()
    assert (load_image(tmp_path / "palette.png", (3, 2, 2)) == 1).all()


@pytest.mark.parametrize("block", [b"no TIFF at all", b"Exif\x00\x00II*\x00\xff\xff\xff\xff"])
def test_a_damaged_note_of_the_camera_costs_no_picture(tmp_path, block):
    Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / "photo.jpg", exif=block)
    assert (load_image(tmp_path / "photo.jpg", (3, 4, 4)) > 0.9).all()


def test_hidden_files_are_no_images_and_others_that_are_left_out_are_named(tmp_path, caplog):
    for name in ("a.jpg", "b.gif", "c.PNG"):
        picture(tmp_path / name)
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "notes.txt", "d.heic"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg", "b.gif", "c.PNG"]
    assert "2 files of" in caplog.text and "d.heic, notes.txt" in caplog.text


def test_labels_become_names_of_files_that_any_system_takes():
    assert file_name('a/../b\\c:d*"e<f>|?') == "a_.._b_c_d__e_f___" and file_name("Lächeln C#") == "Lächeln C#"


def test_json_has_no_numbers_that_it_does_not_know(tmp_path):
    save_json({"a": [math.nan, 1.5], "b": (math.inf, "x", None, True)}, tmp_path / "m.json")
    text = (tmp_path / "m.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.5], "b": [None, "x", None, True]}


def test_two_samplings_into_one_folder_and_other_weights_are_kept_apart(tmp_path):
    taken = pytest.raises(InputError, match="another process is writing its results to")
    with alone_in(tmp_path / "s"), taken, alone_in(tmp_path / "s"):
        pytest.fail("both are in")
    assert list(tmp_path.iterdir()) == []
    first = store(tmp_path / "s")
    first.open(CONFIG, "sample.yaml", ASKED | {"weights": torch.ones(3, 2)})
    first.add(batch(3, 1))
    assert store(tmp_path / "s").open(CONFIG, "sample.yaml", ASKED | {"weights": torch.ones(3, 2)})
    assert not store(tmp_path / "s").open(CONFIG, "sample.yaml", ASKED | {"weights": 2 * torch.ones(3, 2)})
