"""Published weights compute what they computed where they come from."""

import pytest
import torch

from spnn import SPNN
from spnn.diffusion import BackProjection, ImageNoise, NoiseSchedule, PiecewiseStrength, Sampler
from spnn.errors import InputError


@pytest.fixture(params=["cayley", "householder"])
def case(request, reference) -> dict:
    return reference[request.param]


@pytest.fixture
def net(case) -> SPNN:
    return SPNN.from_published(case["state_dict"]).requires_grad_(False)


def assert_close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_network_matches_the_reference(case, net):
    y, z = net.complete(case["x"])
    assert_close(y, case["y"])
    for ours, theirs in zip(z, case["latents"], strict=True):
        assert_close(ours, theirs)
    assert_close(net.pinv(case["y_target"]), case["pinv"])
    for ours, theirs in zip(net.complete_pinv(case["y_target"]).z, case["pinv_latents"], strict=True):
        assert_close(ours, theirs)
    for strength, moved in case["nlbp"].items():
        assert_close(net.back_project(case["x"], case["y_target"], float(strength)), moved)


@pytest.mark.parametrize("name", ["plain", "travel", "stop"])
def test_guided_sampling_matches_the_reference(case, net, name):
    run = case["sampler"][name]
    schedule = NoiseSchedule()
    guidance = BackProjection(
        net,
        case["y_target"][:1],
        strength=PiecewiseStrength([(run["min_bp"], run["l2"]), (0, run["l1"])]),
        stop=run["stop"],
    )
    sampler = Sampler(schedule, run["T"], travel_length=run["L"], travel_repeat=run["R"])
    steps = list(
        sampler.trajectory(
            lambda x, t: schedule.signal_and_noise(t, x)[1] * x, ImageNoise([run["seed"]], (3, 8, 8)), guidance
        )
    )
    assert len(steps) == sampler.num_steps == len(run["x0_predictions"])
    for step, x0 in zip(steps, run["x0_predictions"], strict=True):
        assert_close(step.x0, x0)
    assert_close(steps[-1].x0, run["x0"])


def test_keys_of_a_parallel_wrapper_and_files_are_read(case, net, tmp_path):
    torch.save({f"module.{key}": value for key, value in case["state_dict"].items()}, tmp_path / "weights.pth")
    assert_close(SPNN.from_published(tmp_path / "weights.pth")(case["x"]), net(case["x"]))


def test_foreign_files_are_refused(case, tmp_path):
    class Malicious:
        def __reduce__(self):
            return print, ("code ran while loading",)

    torch.save(Malicious(), tmp_path / "malicious.pth")
    with pytest.raises(InputError, match="can't load"):
        SPNN.from_published(tmp_path / "malicious.pth")
    with pytest.raises(InputError, match="can't load"):
        SPNN.from_published(tmp_path / "missing.pth")
    with pytest.raises(InputError, match=r"conv1\.weight"):
        SPNN.from_published({"conv1.weight": torch.zeros(1)})
    partial = {key: value for key, value in case["state_dict"].items() if ".mix." not in key}
    with pytest.raises(InputError, match="block 0 has no"):
        SPNN.from_published(partial)
