"""Laws that every surjection keeps, over all kinds of them, in double precision."""

import copy

import pytest
import torch
from torch import nn

from spnn import SPNN, Completion, Composition
from spnn.errors import InputError
from spnn.networks import SurjectiveCoupling

CONV = {"st": "conv3 8, conv3", "r": "conv3 8, conv3"}
POINT = {"st": "conv1 8, conv1", "r": "conv1 8, conv1"}


def block(**options) -> SurjectiveCoupling:
    return SurjectiveCoupling(3, 5, unshuffle=2, **{**CONV, **options})


def network() -> SPNN:
    plan = [{"unshuffle": 2, "channels": 6, **CONV}, {"unshuffle": 4, "channels": 20, **POINT}, POINT]
    return SPNN((3, 8, 8), plan, outputs=4)


SURJECTIONS = {
    "block": block,
    "block with separate s and t": lambda: block(st=None, s="conv3 8, conv3/2 8, up 8, conv3", t="conv1"),
    "householder block": lambda: block(mixing="householder"),
    "composition": lambda: Composition(block(), SurjectiveCoupling(5, 2, **CONV)),
    "network": network,
}


@pytest.fixture(params=SURJECTIONS)
def surjection(request):
    surjection = SURJECTIONS[request.param]().double()
    for parameter in surjection.parameters():  # away from the start, where sub-networks are zero
        nn.init.normal_(parameter, std=0.1)
    return surjection.requires_grad_(False)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 3, 8, 8, dtype=torch.double)


@pytest.fixture
def target(surjection) -> torch.Tensor:
    return surjection(torch.randn(3, 3, 8, 8, dtype=torch.double))


def distance(a: Completion, b: Completion) -> torch.Tensor:
    """Squared distance per sample in the completed space."""
    pairs = zip([a.y, *a.z], [b.y, *b.z], strict=True)
    return sum((p - q).square().flatten(1).sum(1) for p, q in pairs)


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_completion_is_a_bijection(surjection, x):
    completed = surjection.complete(x)
    assert sum(part[0].numel() for part in (completed.y, *completed.z)) == x[0].numel()
    assert len(completed.z) == surjection.num_latents
    assert_same(surjection.invert(*completed), x)


def test_completion_of_an_inverse_is_the_identity(surjection, x):
    y, z = surjection.complete(x)
    y, z = torch.randn_like(y), [torch.randn_like(latent) for latent in z]
    again = surjection.complete(surjection.invert(y, z))
    assert_same(again.y, y)
    for a, b in zip(again.z, z, strict=True):
        assert_same(a, b)


def test_pseudo_inverse_is_a_right_inverse(surjection, target):
    assert_same(surjection(surjection.pinv(target)), target)


def test_penrose_identities(surjection, x, target):
    assert_same(surjection(surjection.pinv(surjection(x))), surjection(x))
    pinv = surjection.pinv(target)
    assert_same(surjection.pinv(surjection(pinv)), pinv)


def test_complete_pinv_is_the_completion_of_the_pseudo_inverse(surjection, target):
    short, long = surjection.complete_pinv(target), surjection.complete(surjection.pinv(target))
    assert_same(short.y, long.y)
    for a, b in zip(short.z, long.z, strict=True):
        assert_same(a, b)


def test_full_back_projection_satisfies_the_constraint(surjection, x, target):
    """Claim 1."""
    assert_same(surjection(surjection.back_project(x, target)), target)


def test_back_projection_equals_its_definition(surjection, x, target):
    def difference(strength):
        here, there, nearest = (
            surjection.complete(point) for point in (x, surjection.pinv(target), surjection.pinv(surjection(x)))
        )
        move = [a + strength * (b - c) for a, b, c in zip(here.z, there.z, nearest.z, strict=True)]
        return surjection.invert(here.y + strength * (there.y - nearest.y), move)

    for strength in (0.0, 0.3, 1.0):
        assert_same(surjection.back_project(x, target, strength), difference(strength))


def test_back_projection_is_orthogonal_in_the_metric_of_the_completion(surjection, x):
    """Claim 2, with latents that don't depend on y, as those of the natural pseudo-inverse don't."""
    for parameter in surjection.pinv_parameters():
        nn.init.zeros_(parameter)
    target = surjection(torch.randn_like(x))
    moved = surjection.complete(surjection.back_project(x, target))
    here = surjection.complete(x)
    elsewhere = Completion(target, [torch.randn_like(z) for z in here.z])  # any other point of the fibre
    assert_same(distance(here, elsewhere), distance(here, moved) + distance(moved, elsewhere))


def test_gentle_back_projection_approaches_the_target_with_its_strength(surjection, x, target):
    for strength in (0.0, 0.25, 0.5, 0.75):
        moved = surjection(surjection.back_project(x, target, strength))
        assert_same(moved - target, (1 - strength) * (surjection(x) - target))


def test_back_projection_takes_a_strength_per_sample(surjection, x, target):
    together = surjection.back_project(x, target, torch.tensor([0.0, 0.5, 1.0]))
    for i, strength in enumerate((0.0, 0.5, 1.0)):
        assert_same(together[i], surjection.back_project(x[i : i + 1], target[i : i + 1], strength)[0])


def test_back_projection_takes_a_completed_target(surjection, x, target):
    assert_same(
        surjection.back_project(x, surjection.complete_pinv(target), completed=surjection.complete(x)),
        surjection.back_project(x, target),
    )


def test_naive_back_projection_adds_the_difference_of_pseudo_inverses(surjection, x, target):
    difference = surjection.pinv(target) - surjection.pinv(surjection(x))
    assert_same(surjection.naive_back_project(x, target, torch.tensor([0.0, 1.0, 1.0]))[0], x[0])
    assert_same(surjection.naive_back_project(x, target, 0.4), x + 0.4 * difference)


def test_pseudo_inverse_parameters_do_not_change_the_surjection(surjection, x, target):
    before, pinv = surjection.complete(x), surjection.pinv(target)
    for parameter in surjection.pinv_parameters():
        nn.init.normal_(parameter)
    after = surjection.complete(x)
    assert distance(before, after).max() == 0
    assert not torch.allclose(surjection.pinv(target), pinv)


def test_gradients_flow_through_back_projection(surjection, x, target):
    surjection.requires_grad_(True)
    x.requires_grad_(True)
    surjection.back_project(x, target, 0.5).square().mean().backward()
    gradients = [x.grad, *(parameter.grad for parameter in surjection.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_wrong_shapes_are_named(surjection, x, target):
    with pytest.raises(InputError, match="one target per sample"):
        surjection.back_project(x, target[:2])
    with pytest.raises(InputError, match="one per sample"):
        surjection.back_project(x, target, torch.ones(2))
    with pytest.raises(InputError, match="one target per sample"):
        surjection.naive_back_project(x, target[:1])
    with pytest.raises(InputError, match="one per sample"):
        surjection.naive_back_project(x, target, torch.ones(2))


@pytest.mark.parametrize("mixing", ["cayley", "householder"])
def test_mixing_is_orthogonal_and_follows_its_parameter(mixing):
    mix = block(mixing=mixing).double().mixing
    assert_same(mix.weight @ mix.weight.T, torch.eye(12, dtype=torch.double))
    with torch.no_grad():
        before = mix.weight
        assert mix.weight is before  # computed once
        mix.parameter.add_(torch.randn_like(mix.parameter))
        assert not torch.allclose(mix.weight, before)  # and again after a change
    state = {"parameter": torch.randn_like(mix.parameter)}
    mix.load_state_dict(state)
    assert_same(mix.weight, mix.compute_weight())


def test_mixing_survives_repeated_backward_passes_and_copies():
    network_ = network()
    for _ in range(2):  # two batches without a step in between, as in gradient accumulation
        network_.pinv(network_(torch.randn(2, 3, 8, 8))).square().mean().backward()
    twin = copy.deepcopy(network_)
    with torch.inference_mode():
        twin(torch.randn(2, 3, 8, 8))
    twin(torch.randn(2, 3, 8, 8)).sum().backward()


def test_mixing_follows_weights_swapped_behind_its_back():
    mix = block().mixing.eval()
    with torch.no_grad():
        before = mix.weight
        mix.parameter.data.copy_(torch.randn_like(mix.parameter))  # as the EMA callback does
        mix.train()
        assert not torch.allclose(mix.weight, before)


def test_networks_say_what_is_wrong_with_a_plan_or_an_input():
    for plan, message in [
        ([{"unshuffle": 3, "channels": 4, **POINT}], "block 0 of the plan can't unshuffle 8x8"),
        ([{"unshuffle": 4, "channels": 4, **POINT}], "leaves 2x2 pixels"),
        ([{"unshuffle": 8, "channels": 192, **POINT}], "block 0 .* must lower its 192 channels"),
        ([{"unshuffle": 8, "channels": 4, **POINT}, {"channels": 3, "r": "conv1"}], "block 1 .* `st`"),
        ([{"unshuffle": 8, "channels": 4, **POINT, "mixing": "random"}], "no mixing is called 'random'"),
        ([{"unshuffle": 8, "channels": 4, "st": "conv1 8 conv1", "r": "conv1"}], "can't read the layer"),
        ([{"unshuffle": 8, "chanels": 4, **POINT}], "block 0 .*chanels"),
    ]:
        with pytest.raises(InputError, match=message):
            SPNN((3, 8, 8), plan)
    with pytest.raises(InputError, match=r"expected images of shape \[B, 3, 8, 8\]"):
        network()(torch.randn(1, 3, 16, 16))
    with pytest.raises(InputError, match=r"expected logits of shape \[B, 4\]"):
        network().pinv(torch.randn(1, 5))
