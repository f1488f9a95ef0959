"""Metrics: counted by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from spnn import SPNN
from spnn.errors import InputError
from spnn.latents import with_pinv
from spnn.metrics import (
    agreement,
    agreement_intervals,
    constraint_violation,
    diversity,
    faults,
    fine_energy,
    inception_distances,
    judge_distances,
    mean_interval,
    measurement_metrics,
    natural_norm,
    penrose_errors,
    pixel_metrics,
    ratio_interval,
    saturated,
    verdict,
)
from spnn.operators import AveragePool


def test_agreement_is_counted_by_hand():
    wanted = torch.tensor([[0.9, 0.2], [0.8, 0.4], [0.7, 0.1], [0.1, 0.3]])  # three have the first, none the second
    probability = torch.tensor([[0.6, 0.1], [0.4, 0.9], [0.9, 0.2], [0.2, 0.6]])
    metrics = agreement(probability, wanted)
    assert metrics["agreement"].tolist() == [3 / 4, 2 / 4]
    assert metrics["balanced_agreement"].tolist() == pytest.approx([(2 / 3 + 1) / 2, 2 / 4])
    assert metrics["mae"].tolist() == pytest.approx([(0.3 + 0.4 + 0.2 + 0.1) / 4, (0.1 + 0.5 + 0.1 + 0.3) / 4])


def test_always_answering_the_majority_has_balanced_agreement_one_half():
    wanted = torch.rand(50, 3)
    metrics = agreement(torch.zeros(50, 3), wanted)
    assert metrics["balanced_agreement"].tolist() == [0.5] * 3
    assert not any(math.isnan(value) for values in metrics.values() for value in values.tolist())


def test_an_image_of_weight_two_counts_as_two_images():
    wanted, probability = torch.rand(4, 3), torch.rand(4, 3)
    wanted[2:] = torch.tensor([[0.9, 0.1, 0.9], [0.1, 0.9, 0.1]])  # of each kind some count
    repeated = torch.tensor([0, 0, 2, 3, 3, 3])
    weighted = agreement(probability, wanted, weights=torch.tensor([[2.0, 0, 1, 3]]))
    plain = agreement(probability[repeated], wanted[repeated])
    for name, values in plain.items():
        torch.testing.assert_close(weighted[name][0], values)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1)) * 3 + 10
    low, high = mean_interval(values, resamples=4000).tolist()
    half = 1.96 * values.std().item() / 20
    assert low == pytest.approx(values.mean().item() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean().item() + half, abs=0.1 * half)


def test_the_interval_of_agreement_draws_images_not_attributes():
    right = (torch.arange(100) < 80)[:, None].expand(100, 40)  # an image is right in all attributes or in none
    found = agreement_intervals(right.float(), torch.ones(100, 40), resamples=4000)
    low, high = found["agreement_interval"].tolist()
    half = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.012)


def test_agreement_of_different_shapes_is_refused():
    with pytest.raises(InputError, match="same shape"):
        agreement(torch.rand(3, 4), torch.rand(3, 5))


class Shifted(AveragePool):
    """A pseudo-inverse that misses by a known amount: every pixel is 0.25 too high."""

    def pinv(self, y: Tensor) -> Tensor:
        return super().pinv(y) + 0.25


def test_penrose_errors_are_those_of_a_pseudo_inverse_that_misses_by_a_known_amount():
    operator = Shifted(2, (1, 4, 4))
    x, y = torch.full((3, 1, 4, 4), 0.5), torch.full((2, 1, 2, 2), -2.0)
    errors = {name: value.max().item() for name, value in penrose_errors(operator, x, y).items()}
    assert errors["g_pinv"] == pytest.approx(0.25) and errors["g_pinv_relative"] == pytest.approx(0.25 / 2)
    assert errors["g_pinv_g"] == pytest.approx(0.25) and errors["g_pinv_g_relative"] == pytest.approx(0.25 / 0.5)
    assert errors["pinv_g_pinv"] == pytest.approx(0.25)
    assert errors["pinv_g_pinv_relative"] == pytest.approx(0.25 / 1.75)


def network() -> SPNN:
    torch.manual_seed(0)
    net = SPNN((1, 4, 4), [{"unshuffle": 2, "channels": 2, "hidden": 8}, {"unshuffle": 2, "hidden": 8}], outputs=3)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


@pytest.mark.parametrize("pinv", ["trained", "random", "zero", "closed_form"])
def test_every_choice_of_latents_obeys_penrose_up_to_rounding(pinv):
    errors = penrose_errors(with_pinv(network(), pinv), torch.randn(5, 1, 4, 4), torch.randn(7, 3))
    assert len(errors) == 6 and all((value < 1e-5).all() for value in errors.values())


def test_the_natural_norm_is_the_distance_in_the_completed_space_and_least_in_closed_form():
    net, y = network(), torch.randn(6, 3)
    norms = {}
    for pinv in ("trained", "random", "zero", "closed_form"):
        surjection = with_pinv(net, pinv)
        norms[pinv] = {name: value.mean().item() for name, value in natural_norm(surjection, y, (1, 4, 4)).items()}
        there, origin = surjection.complete(surjection.pinv(y)), surjection.complete(torch.zeros(1, 1, 4, 4))
        latents = sum((a - b).square().flatten(1).sum(1) for a, b in zip(there.z, origin.z, strict=True))
        whole = latents + (there.y - origin.y).square().sum(1)
        assert norms[pinv]["natural"] == pytest.approx(whole.mean().item(), rel=1e-4)
        assert norms[pinv]["natural_latents"] == pytest.approx(latents.mean().item(), rel=1e-4, abs=1e-6)
    assert min(norms, key=lambda pinv: norms[pinv]["natural"]) == "closed_form"


def test_violation_along_a_trajectory_is_counted_by_hand():
    outputs = torch.tensor([[[1.0, 3.0], [2.0, 2.0]], [[0.0, 0.0], [1.0, 1.0]]])
    assert constraint_violation(outputs, torch.tensor([[2.0, 2], [1, 1]])).tolist() == [1.0, 0.0]


def test_diversity_is_the_distance_of_pairs():
    same = torch.ones(1, 3, 1, 2, 2)
    apart = torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 1, 2, 2)  # pairs: 2, 2, 0
    assert diversity(torch.cat([same, apart])) == pytest.approx((0 + 4 / 3) / 2)
    with pytest.raises(InputError, match="at least two"):
        diversity(same[:, :1])


def test_black_and_white_values_are_counted_by_hand():
    black, white, grey = (torch.full((1, 2, 2), value) for value in (-1.0, 1.0, 0.3))
    half = torch.cat([torch.full((1, 1, 2), 1.5), torch.zeros(1, 1, 2)], dim=1)  # beyond the range is white, too
    nearly = torch.full((1, 2, 2), 253 / 127.5 - 1)  # 253 as a byte
    assert saturated(torch.stack([black, white, grey, half, nearly])).tolist() == [1.0, 1.0, 0.0, 0.5, 0.0]


def test_a_checkerboard_is_all_fine_detail_and_a_constant_has_none():
    checkerboard = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(4, 4)[None]
    constant, slow = torch.ones(1, 8, 8), torch.cos(torch.arange(8) * 2 * math.pi / 8).expand(1, 8, 8)
    stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 8, 8)  # fine across, constant down
    found = fine_energy(torch.stack([checkerboard, constant, slow, stripes, 0.5 * checkerboard + constant]))
    assert found.tolist() == pytest.approx([1, 0, 0, 1, 0.25], abs=1e-6)


def test_blur_takes_fine_detail_away_and_an_image_has_its_own_whatever_stands_beside_it():
    noise = torch.randn(3, 3, 16, 16)
    blurred = torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)
    assert (fine_energy(blurred) < fine_energy(noise) / 4).all()
    # White noise has its power spread evenly over all frequencies: 17 rows or columns of 32 are not fine.
    many = fine_energy(torch.randn(200, 3, 32, 32)).mean().item()
    assert many == pytest.approx(1 - (17 / 32) ** 2, abs=0.01)
    for measure in (saturated, fine_energy):
        together = measure(noise)
        torch.testing.assert_close(torch.cat([measure(image[None]) for image in noise]), together)
        torch.testing.assert_close(measure(torch.cat([noise, noise]))[:3], together)


def test_what_sets_pictures_apart_from_real_ones_is_said_and_whether_it_breaks_them():
    real = {"saturated": 0.10, "fine_energy": 0.02}
    whole = {"saturated": 0.12, "fine_energy": 0.025, "judge_frechet": 1.9}
    assert faults(whole, real, 1.0) == [] == faults(real, real) and verdict([]) is None
    for worse, text, broken in (
        ({"saturated": 0.25}, "25.0 % of their values are black or white (real images: 10.0 %)", True),
        ({"saturated": 0.20}, "20.0 % of their values are black or white (real images: 10.0 %)", False),
        ({"fine_energy": 0.05}, "they have 2.5 times the fine detail of real images", True),
        ({"fine_energy": 0.03}, "they have 1.5 times the fine detail of real images", False),
        ({"fine_energy": 0.01}, "they have 0.5 times the fine detail of real images", False),  # blurred
        (
            {"judge_frechet": 4.0},
            "by the judge they are 4.0 times as far from real images as whole ones would be",
            True,
        ),
        (
            {"judge_frechet": 2.5},
            "by the judge they are 2.5 times as far from real images as whole ones would be",
            False,
        ),
    ):
        found = faults(whole | worse, real, 1.0)
        assert [(fault.text, fault.broken) for fault in found] == [(text, broken)]
        assert verdict(found).startswith("THE PICTURES ARE BROKEN" if broken else "the pictures look unlike real ones")
        assert text in verdict(found)
    assert faults(whole | {"judge_frechet": 9.0}, real) == []  # nothing to compare with
    assert len(faults({"saturated": 1.0, "fine_energy": 1.0, "judge_frechet": 9.0}, real, 1.0)) == 3
    (given,) = faults(whole | {"saturated": 1.0}, real, of="the given images")
    assert "(the given images: 10.0 %)" in given.text
    (fault,) = faults(whole | {"fine_energy": math.nan}, real)
    assert fault.broken and "not finite" in fault.text


def test_the_interval_of_a_ratio_draws_images_with_all_their_values():
    counts = torch.tensor([1.0, 3.0]).repeat(200)
    sums = counts * (torch.arange(400) % 5 > 0)  # all values of an image are alike
    low, high = ratio_interval(sums, counts, resamples=4000).tolist()
    mean = (sums.sum() / counts.sum()).item()
    deviation = ((sums - mean * counts).square().sum().sqrt() / counts.sum()).item()  # of a ratio, to first order
    assert low < mean < high
    assert (low, high) == pytest.approx((mean - 1.96 * deviation, mean + 1.96 * deviation), abs=0.005)
    values = torch.randn(50)
    assert torch.equal(ratio_interval(values, torch.ones(50)), mean_interval(values))


def test_sets_of_the_same_features_are_at_no_distance_and_shifted_ones_at_the_square_of_the_shift():
    features = torch.randn(500, 8)
    features = (features - features.mean(0)) / features.std(0) * 3
    same = judge_distances(features, features)
    assert same["judge_frechet"] == pytest.approx(0, abs=1e-3)
    shifted = judge_distances(features, features + 6)  # two deviations
    assert shifted["judge_frechet"] == pytest.approx(8 * 4, rel=1e-3)
    assert shifted["judge_kernel"] > 1 > abs(same["judge_kernel"])


def test_the_distances_leave_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    judge_distances(torch.zeros(4, 2), torch.ones(4, 2))
    assert torch.equal(torch.rand(2), expected)


def test_what_cannot_be_loaded_is_said_in_a_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    caplog.set_level("INFO")
    assert inception_distances(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)) is None
    assert "no FID and KID" in caplog.text
    clean = torch.rand(2, 3, 64, 64)
    assert "lpips" not in measurement_metrics(torch.zeros(2, 1), torch.zeros(2, 1), clean, clean)
    assert "no LPIPS" in caplog.text


def test_restorations_are_compared_with_the_clean_images():
    clean = torch.zeros(3, 1, 16, 16)
    metrics = measurement_metrics(torch.ones(3, 2), torch.zeros(3, 2), clean + 0.2, clean)
    assert metrics["gap"] == 1
    assert metrics["psnr"] == pytest.approx(20.0, abs=1e-4)  # a tenth of the range
    assert metrics["ssim"] < 1
    exact = measurement_metrics(torch.ones(3, 2), torch.zeros(3, 2), clean, clean)
    assert exact["psnr"] == 120 and exact["ssim"] == pytest.approx(1)
    tiny = torch.zeros(3, 1, 4, 4)
    assert "ssim" not in measurement_metrics(torch.ones(3, 2), torch.zeros(3, 2), tiny, tiny)


def test_the_interval_of_a_rare_label_that_is_missed_is_about_what_was_found():
    """Resamplings without the one image that has it say nothing of such images."""
    wanted = torch.zeros(100, 40)
    wanted[0] = 1
    found = agreement_intervals(torch.zeros(100, 40), wanted)
    assert found["balanced_agreement"].mean() == 0.5
    assert found["balanced_agreement_interval"].tolist() == pytest.approx([0.5, 0.5])


class Largest(TorchDispatchMode):
    """Notes the most numbers that any tensor holds which is computed meanwhile."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        found = function(*arguments, **(options or {}))
        new = isinstance(found, Tensor) and not function.is_view
        self.numbers = max(self.numbers, found.numel() if new else 0)
        return found


@pytest.mark.parametrize(
    "measure",
    [
        pixel_metrics,
        lambda x: measurement_metrics(x[:400, 0, 0], x[400:, 0, 0], x[:400], x[400:]),
        lambda x: diversity(x.unflatten(0, (-1, 8))),
    ],
    ids=["pixels", "restorations", "diversity"],
)
def test_what_is_computed_of_many_images_takes_less_than_they_do(measure):
    images = torch.rand(800, 3, 16, 16) * 2 - 1
    with Largest() as largest:
        measure(images)
    assert largest.numbers < images.numel() / 2


def test_restorations_in_windows_have_the_means_of_all():
    x, clean = torch.rand(2, 37, 3, 16, 16)
    together = measurement_metrics(x[:, :1, 0], clean[:, :1, 0], x, clean)
    pairs = zip(x.split(1), clean.split(1), strict=True)
    alone = [measurement_metrics(a[:, :1, 0], b[:, :1, 0], a, b) for a, b in pairs]
    for name in ("psnr", "ssim"):
        assert together[name] == pytest.approx(sum(each[name] for each in alone) / 37, rel=1e-4)


def test_features_of_the_real_images_are_computed_once_for_all_methods(monkeypatch):
    seen = []

    class Network(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return x.flatten(1)[:, :8].float()

    monkeypatch.setattr("spnn.metrics.realism.inception", lambda download=False: Network())
    real, first, second = torch.rand(3, 40, 1, 8, 8)
    before = inception_distances(real, first)
    inception_distances(real, second)
    assert sum(seen) == 3 * 40
    assert inception_distances(real.clone(), first) == before
