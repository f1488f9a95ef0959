"""Published weights compute what they computed where they come from."""

from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.literal import Block, LiteralSPNN, back_project
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
        schedule=PiecewiseStrength([(run["min_bp"], run["l2"]), (0, run["l1"])]),
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


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, pytest.param(64, marks=pytest.mark.nightly)])
def test_published_architectures_compute_what_their_formulas_say(size):
    literal = LiteralSPNN(size, outputs=7).requires_grad_(False)
    for block in literal.pinn.blocks:
        if isinstance(block, Block) and len(block.mix.A_unconstrained) == 48:  # one block by reflections
            del block.mix.A_unconstrained
            block.mix.V = nn.Parameter(torch.randn(8, 48), requires_grad=False)
            block.mix.forward = partial(reflections, block.mix)
    net = SPNN.from_published(literal.state_dict()).requires_grad_(False)
    x, target = torch.randn(2, 3, size, size), torch.randn(2, 7)
    assert net.image_shape == (3, size, size)
    for ours, theirs in zip(net.complete(x), literal.complete(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert_close(net.pinv(target), literal.pinv(target))
    assert_close(net.back_project(x, target, 0.7), back_project(literal, x, target, 0.7))


def reflections(mix: nn.Module) -> torch.Tensor:
    weight = torch.eye(mix.V.shape[1])
    for v in mix.V:
        weight = (torch.eye(len(v)) - 2 * torch.outer(v, v) / v.square().sum()) @ weight
    return weight[:, :, None, None]


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
    state = case["state_dict"]

    def refused(message: str, change: dict | None = None, without: str = "-") -> None:
        kept = {key: value for key, value in state.items() if without not in key}
        with pytest.raises(InputError, match=message):
            SPNN.from_published(kept | (change or {}))

    refused("block 0 has no 'mixing'", without=".mix.")
    refused("block 0 has no 'r'", without=".r.")
    refused("the state dict is empty", without="pinn")
    refused("whose 'epoch' is a int", {"epoch": 3})
    first = next(key for key in state if ".s.net.0.weight" in key)
    refused("size mismatch", {first: state[first][:, :1]})
    refused("layers of an unknown kind", {first.replace("net.0", "net.1"): state[first]})
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="expected a dictionary of tensors, got a list"):
        SPNN.from_published(tmp_path / "list.pth")
