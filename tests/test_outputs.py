"""What a network's outputs of training images look like, and how targets follow from that."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spnn.data import Digits
from spnn.data.module import collate, scale_to_unit_range
from spnn.metrics import fine_energy
from spnn.outputs import TrainingOutputs, outputs_of
from spnn.readout import Classes, Mixed, Values
from spnn.sampling.targets import set_values


def logits(count: int = 400, attributes: int = 5) -> tuple[Tensor, Tensor]:
    """Correlated logits and labels that mostly agree with them."""
    y = torch.randn(count, attributes) @ torch.randn(attributes, attributes) + torch.randn(attributes)
    return y, (y + torch.randn(count, attributes) > 0).float()


def regression(y: Tensor, labels: Tensor, places: list[int]) -> np.ndarray:
    """The slopes of all columns on some, [S, K], where images with and without each of these weigh alike."""
    weights = [np.where(has, 1 / has.sum(), 1 / (~has).sum()) for has in (labels.T.numpy() > 0.5)]
    balanced = np.mean([np.cov(y.double().numpy().T, aweights=weights[k]) for k in places], axis=0)
    return np.linalg.solve(balanced[places][:, places], balanced[places])


@pytest.mark.parametrize("places", [[2], [3, 0], [0, 1, 2, 3, 4]], ids=str)
def test_the_others_follow_by_regression(places):
    y, labels = logits()
    outputs, values = TrainingOutputs.of(y, labels), torch.randn(10, len(places)) * 3
    followed = outputs.follow(y[:10], places, values)
    slopes = torch.from_numpy(regression(y, labels, places)).float()
    torch.testing.assert_close(followed, y[:10] + (values - y[:10, places]) @ slopes, rtol=1e-3, atol=1e-3)
    assert torch.equal(followed[:, places], values)


def test_a_rare_attribute_takes_along_what_images_with_it_show():
    """Among images without it, its logit goes with another output, and neither means anything."""
    has, noise = torch.arange(4000) < 40, torch.randn(4000)
    y = torch.stack([torch.where(has, 6.0, -6.0) + noise, noise + torch.where(has, 1.0, 0.0)], dim=1)
    outputs = TrainingOutputs.of(y, has[:, None].float().expand(-1, 2))
    moved = outputs.follow(y[-10:], [0], torch.full((10, 1), 6.0))[:, 1] - y[-10:, 1]
    assert (moved - 1).abs().max() < 0.5
    assert TrainingOutputs.of(y, torch.ones(4000, 2)).follow(y[-10:], [0], torch.full((10, 1), 6.0))[:, 1].mean() > 5


def test_random_outputs_have_the_mean_and_covariance_and_are_their_seeds():
    y, labels = logits()
    outputs = TrainingOutputs.of(y, labels)
    drawn = outputs.random(range(20_000))
    torch.testing.assert_close(drawn.mean(0), y.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(y.T), rtol=0.05, atol=0.15)
    assert torch.equal(outputs.random([7, 3]), drawn[[7, 3]])


def test_random_outputs_of_classes_are_of_one_class_each():
    torch.manual_seed(0)
    shown = torch.randint(3, (6000,))
    labels, readout = F.one_hot(shown, 3).float(), Classes(["a", "b", "c"])
    y = 10 * labels + torch.randn(6000, 3)
    outputs = TrainingOutputs.of(y, labels, readout)
    drawn = outputs.random(range(6000), (0, 1, 2))
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(y.T), rtol=0.05, atol=0.8)
    torch.testing.assert_close(drawn.mean(0), y.mean(0), rtol=0, atol=0.3)
    margin = drawn.topk(2).values.diff(dim=1).abs()
    assert (
        (margin < 4).float().mean()
        < 0.01
        < (outputs.random(range(6000)).topk(2).values.diff().abs() < 4).float().mean()
    )
    torch.testing.assert_close(outputs.within([0, 1, 2]).covariance, torch.eye(3), rtol=0, atol=0.1)
    assert torch.equal(outputs.random([7, 3], [0, 1, 2]), drawn[[7, 3]])


def test_what_images_have_together_and_how_whole_they_are():
    images = DataLoader(Digits().split("train"), batch_size=300, collate_fn=collate)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    outputs = TrainingOutputs.of_images(network, images.dataset)
    batches = list(images)
    labels = torch.cat([batch["labels"] for batch in batches])
    torch.testing.assert_close(outputs.together, labels.T @ labels / len(labels))
    pixels = scale_to_unit_range(torch.cat([batch["image"] for batch in batches]))
    expected = torch.tensor([(pixels.abs() == 1).float().mean(), fine_energy(pixels).mean()])
    torch.testing.assert_close(outputs.whole, expected.float())


def test_a_share_goes_part_of_the_way_and_what_is_set_is_set():
    y, labels = logits()
    outputs, places, values = TrainingOutputs.of(y, labels), [3, 1], torch.randn(10, 2) * 3
    none, half, whole = (outputs.follow(y[:10], places, values, share) for share in (0.0, 0.5, 1.0))
    assert all(torch.equal(followed[:, places], values) for followed in (none, half, whole))
    others = [0, 2, 4]
    assert torch.equal(none[:, others], y[:10, others])
    torch.testing.assert_close(half[:, others], (y[:10, others] + whole[:, others]) / 2)
    assert (whole - none)[:, others].abs().mean() > 0.1


def test_following_leaves_the_original_alone():
    y, labels = logits()
    given = y[:10].clone()
    TrainingOutputs.of(y, labels).follow(given, [1], torch.zeros(10, 1))
    assert torch.equal(given, y[:10])


def test_typical_is_a_quantile_of_the_images_in_which_the_network_sees_the_attribute():
    y, labels = logits()
    outputs = TrainingOutputs.of(y, labels)
    for k in range(5):
        recognised = y[:, k][(labels[:, k] == 1) & (y[:, k] > 0)].numpy()
        lacking = y[:, k][(labels[:, k] == 0) & (y[:, k] < 0)].numpy()
        assert outputs.typical(k, True, 0.8) == pytest.approx(np.quantile(recognised, 0.8), rel=1e-4)
        assert outputs.typical(k, False, 0.8) == pytest.approx(np.quantile(lacking, 0.2), rel=1e-4)


def test_where_the_network_never_sees_an_attribute_all_images_that_have_it_count():
    y = -torch.rand(100, 2) - 1
    labels = (torch.arange(100) < 30).float()[:, None].expand(100, 2)
    typical = TrainingOutputs.of(y, labels).typical(1, True, 0.8)
    assert typical == pytest.approx(np.quantile(y[:30, 1].numpy(), 0.8), rel=1e-4)


def test_nothing_is_typical_of_what_no_image_has():
    y, labels = logits()
    labels[:, 2] = 0
    outputs = TrainingOutputs.of(y, labels)
    assert np.isnan(outputs.typical(2, True, 0.8)) and outputs.typical(2, False, 0.8) < 0
    assert not np.isnan(outputs.typical(1, True, 0.8))


def test_training_images_are_about_one_away_and_a_target_of_many_deviations_far():
    y, labels = logits(2000)
    outputs = TrainingOutputs.of(y, labels)
    distance, usual = outputs.far(y)
    assert distance.square().mean().sqrt().item() == pytest.approx(1, abs=0.01)
    assert (distance <= usual).double().mean().item() == pytest.approx(0.99, abs=0.005)
    by_hand = (y - y.mean(0)).double() @ torch.linalg.inv(torch.cov(y.T.double())) * (y - y.mean(0))
    torch.testing.assert_close(distance, (by_hand.sum(1) / 5).sqrt().float(), rtol=0.02, atol=1e-3)
    away = y.mean(0).clone()
    away[2] += 18 * y[:, 2].std()
    assert outputs.far(away[None])[0].item() > 18 / 5**0.5 > 1.5 * usual


def test_what_is_saved_is_loaded(tmp_path):
    y, labels = logits()
    labels[:, 2] = 0  # which leaves numbers that are none
    outputs = TrainingOutputs.of(y, labels)
    outputs.save(tmp_path / "outputs.safetensors")
    loaded = TrainingOutputs.load(tmp_path / "outputs.safetensors")
    for name in ("mean", "covariance", "balanced", "present", "absent", "distance"):
        assert torch.equal(getattr(loaded, name).nan_to_num(7), getattr(outputs, name).nan_to_num(7))
    assert [path.name for path in tmp_path.iterdir()] == ["outputs.safetensors"]


def test_a_single_attribute_is_set_alone():
    y, labels = logits(attributes=1)
    outputs = TrainingOutputs.of(y, labels)
    assert outputs.covariance.shape == (1, 1) and outputs.covariance.item() == pytest.approx(y.var().item(), rel=1e-5)
    assert outputs.follow(y[:3], [0], torch.full((3, 1), 4.0)).tolist() == [[4.0]] * 3
    deviations = ((y - y.mean()) / y.std()).abs().squeeze(1)
    torch.testing.assert_close(outputs.far(y)[0], deviations, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3])
def test_an_output_that_never_changes_moves_no_other(constant):
    y, labels = logits()
    y[:, 2] = constant
    outputs = TrainingOutputs.of(y, labels)
    followed = outputs.follow(y[:3], [2], torch.full((3, 1), 4.0))
    others = [0, 1, 3, 4]
    torch.testing.assert_close(followed[:, others], y[:3, others], rtol=0, atol=1e-3)
    assert followed[:, 2].tolist() == [4.0] * 3
    followed = outputs.follow(y[:3], [0], torch.full((3, 1), 4.0))
    torch.testing.assert_close(followed[:, 2], y[:3, 2], rtol=0, atol=1e-3)
    distance, _ = outputs.far(torch.cat([y[:3], followed]))
    assert distance.isfinite().all()


def test_the_outputs_of_images_are_described_whatever_the_batches():
    digits, network = Digits().split("train"), nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    whole = next(iter(DataLoader(digits, batch_size=len(digits), collate_fn=collate)))
    y = outputs_of(network, scale_to_unit_range(whole["image"]))
    expected = TrainingOutputs.of(y, whole["labels"])
    found = TrainingOutputs.of_images(network, digits)
    for name in ("mean", "covariance", "balanced", "present", "absent", "distance"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4, equal_nan=True)
    assert not torch.allclose(expected.mean, TrainingOutputs.of(-y, whole["labels"]).mean, atol=1e-2)


def test_a_class_is_swapped_by_the_difference_of_class_means():
    labels = torch.eye(3)[torch.arange(300) % 3]
    centres = torch.tensor([[4.0, 0, 0, 1], [0, 4, 0, 2], [0, 0, 4, 3]])  # of three classes, and of a value beside them
    y = labels @ centres + 0.3 * torch.randn(300, 4)
    readout = Mixed([Classes(("a", "b", "c")), Values(("v",))])
    outputs = TrainingOutputs.of(y, torch.cat([labels, y[:, 3:]], dim=1), readout)
    torch.testing.assert_close(outputs.means[:3], torch.stack([y[labels[:, k] > 0].mean(0) for k in range(3)]))
    moved = outputs.swap(y[:3], 2, [0, 1, 2], all_follow=True)
    torch.testing.assert_close(moved - y[:3], outputs.means[2] - outputs.means[:3])
    assert torch.equal(moved[2], y[2])  # which is of that class already
    alone = outputs.swap(y[:3], 2, [0, 1, 2], all_follow=False)
    assert torch.equal(alone[:, :3], moved[:, :3]) and torch.equal(alone[:, 3], y[:3, 3])
    set_, which = set_values(y[:3], readout, {"class": "c"}, "edit.set", outputs, share=1.0)
    assert torch.equal(set_, moved) and which.tolist() == [True, True, True, False]
    assert (outputs.far(moved)[0] <= outputs.distance[99]).all()


def test_outputs_of_an_earlier_version_are_read_without_class_means(tmp_path):
    outputs = TrainingOutputs.of(torch.randn(50, 3), (torch.randn(50, 3) > 0).float())
    outputs.save(tmp_path / "outputs.safetensors")
    tensors = load_file(tmp_path / "outputs.safetensors")
    del tensors["means"]
    save_file(tensors, tmp_path / "outputs.safetensors")
    again = TrainingOutputs.load(tmp_path / "outputs.safetensors")
    assert torch.equal(again.mean, outputs.mean) and again.means.isnan().all()
    y = torch.randn(2, 3)
    assert torch.equal(again.swap(y, 1, [0, 1, 2], all_follow=True), y)
