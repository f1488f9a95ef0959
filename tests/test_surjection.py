"""Laws that every surjection keeps, over all kinds of them, in double precision."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from spnn import SPNN, Completion, Composition, Surjection
from spnn.errors import InputError
from spnn.latents import with_pinv
from spnn.networks import MIXINGS, SurjectiveCoupling
from spnn.operators import AveragePool, Blur, Gamma, Grayscale, Inpainting, Matrix, Ripple, gaussian_kernel

SHAPE = (3, 8, 8)
CONV = {"st": "conv3 8, conv3", "r": "conv3 8, conv3"}
POINT = {"st": "conv1 8, conv1", "r": "conv1 8, conv1"}
MASK = torch.arange(64).reshape(8, 8) % 3 > 0


def block(**options) -> SurjectiveCoupling:
    return SurjectiveCoupling(3, 5, unshuffle=2, **{**CONV, **options})


def network(**options) -> SPNN:
    plan = [{"unshuffle": 2, "channels": 6, **CONV}, {"unshuffle": 4, "channels": 20, **POINT}, POINT]
    return SPNN(SHAPE, plan, outputs=4, **options)


def free_form() -> SPNN:
    return SPNN(SHAPE, [{"unshuffle": 2, "channels": 4}, {"unshuffle": 4, "channels": 12}, {"channels": 5}], hidden=8)


def small_network() -> SPNN:
    return SPNN((3, 4, 4), [{"unshuffle": 4, "channels": 6, **POINT}])


NETWORKS = {
    "block": block,
    "block with separate s and t": lambda: block(st=None, s="conv3 8, conv3/2 8, up 8, conv3", t="conv1"),
    **{f"{mixing} block": lambda mixing=mixing: block(mixing=mixing) for mixing in MIXINGS if mixing != "cayley"},
    "composition": lambda: Composition(block(), SurjectiveCoupling(5, 2, **CONV)),
    "network": network,
    "checkpointed network": lambda: network(checkpoint=True),
    "free-form network": free_form,
}
OPERATORS = {
    "inpainting": lambda: Inpainting(MASK, SHAPE),
    "average pooling": lambda: AveragePool(4, SHAPE),
    "grayscale": lambda: Grayscale(SHAPE),
    "blur": lambda: Blur(gaussian_kernel(1.0, size=5), SHAPE),
    "matrix": lambda: Matrix(torch.randn(20, 192), SHAPE),
}
OTHERS = {
    "average of a tone curve": lambda: Composition(Gamma(2.2), AveragePool(2, SHAPE)),
    "mask behind rippled glass": lambda: Composition(Ripple(1.5, 8), Gamma(0.7), Inpainting(MASK, SHAPE)),
    "the same glass twice": lambda: (lambda glass: Composition(glass, Gamma(1.5), glass, AveragePool(2, SHAPE)))(
        Ripple(1.0, 8)
    ),
    "network on an average": lambda: Composition(AveragePool(2, SHAPE), small_network()),
    "bijection": lambda: Ripple(0.8, 5),
    "network with random latents": lambda: with_pinv(network(), "random"),
    "network with zero latents": lambda: with_pinv(network(), "zero"),
    "network with latents in closed form": lambda: with_pinv(network(), "closed_form"),
}
SURJECTIONS = NETWORKS | OPERATORS | OTHERS


def prepare(surjection: Surjection) -> Surjection:
    """In double precision, with weights away from the start, where sub-networks are zero."""
    for parameter in surjection.parameters():
        nn.init.normal_(parameter, std=0.1)
    return surjection.double().requires_grad_(False)


@pytest.fixture(params=SURJECTIONS)
def surjection(request):
    return prepare(SURJECTIONS[request.param]())


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, *SHAPE, dtype=torch.double)


@pytest.fixture
def target(surjection) -> torch.Tensor:
    return surjection(torch.randn(3, *SHAPE, dtype=torch.double))


def distance(a: Completion, b: Completion) -> torch.Tensor:
    """Squared distance per sample in the completed space."""
    pairs = zip([a.y, *a.z], [b.y, *b.z], strict=True)
    return sum((p - q).square().flatten(1).sum(1) for p, q in pairs)


def assert_same(a: torch.Tensor | Completion, b: torch.Tensor | Completion) -> None:
    if isinstance(a, Completion):
        a, b = [a.y, *a.z], [b.y, *b.z]
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_completion_is_a_bijection(surjection, x):
    completed = surjection.complete(x)
    assert len(completed.z) == surjection.num_latents
    assert_same(surjection.invert(*completed), x)


def test_completion_of_an_inverse_is_the_identity(surjection, x, target):
    elsewhere = Completion(target, surjection.complete(x).z)
    assert_same(surjection.complete(surjection.invert(*elsewhere)), elsewhere)


@pytest.mark.parametrize("kind", NETWORKS)
def test_latents_of_networks_are_as_many_as_the_dimensions_that_go(kind, x):
    y, z = prepare(NETWORKS[kind]()).complete(x)
    assert sum(part[0].numel() for part in (y, *z)) == x[0].numel()


def test_pseudo_inverse_is_a_right_inverse(surjection, target):
    assert_same(surjection(surjection.pinv(target)), target)


def test_penrose_identities(surjection, x, target):
    assert_same(surjection(surjection.pinv(surjection(x))), surjection(x))
    pinv = surjection.pinv(target)
    assert_same(surjection.pinv(surjection(pinv)), pinv)


def test_complete_pinv_is_the_completion_of_the_pseudo_inverse(surjection, target):
    assert_same(surjection.complete_pinv(target), surjection.complete(surjection.pinv(target)))


def test_full_back_projection_satisfies_the_constraint(surjection, x, target):
    """Claim 1."""
    assert_same(surjection(surjection.back_project(x, target)), target)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_back_projection_equals_its_definition(surjection, x, target, strength):
    """Definition 4.3, term by term."""
    here, there, nearest = (
        surjection.complete(point) for point in (x, surjection.pinv(target), surjection.pinv(surjection(x)))
    )
    z = [a + strength * (b - c) for a, b, c in zip(here.z, there.z, nearest.z, strict=True)]
    moved = surjection.invert(here.y + strength * (there.y - nearest.y), z)
    assert_same(surjection.back_project(x, target, strength), moved)


def test_gentle_back_projection_approaches_the_target_with_its_strength(surjection, x, target):
    for strength in (0.0, 0.25, 0.5, 0.75):
        moved = surjection(surjection.back_project(x, target, strength))
        assert_same(moved - target, (1 - strength) * (surjection(x) - target))


def test_back_projection_is_orthogonal_in_the_metric_of_the_completion(surjection, x):
    """Claim 2, of the natural pseudo-inverse."""
    surjection = with_pinv(surjection, "closed_form")
    target = surjection(torch.randn_like(x))
    here, moved = surjection.complete(x), surjection.complete(surjection.back_project(x, target))
    elsewhere = Completion(target, surjection.complete(torch.randn_like(x)).z)  # any other point of the fibre
    torch.testing.assert_close(distance(here, elsewhere), distance(here, moved) + distance(moved, elsewhere))


def test_closed_form_is_the_point_of_the_fibre_nearest_to_zero(surjection, x, target):
    """Definition 4.2."""
    zero = surjection.complete(torch.zeros_like(x))
    natural = with_pinv(surjection, "closed_form").complete_pinv(target)
    elsewhere = Completion(target, surjection.complete(x).z)
    assert (distance(natural, zero) <= distance(elsewhere, zero)).all()
    torch.testing.assert_close(distance(natural, zero), (target - zero.y).square().flatten(1).sum(1))


def test_samples_do_not_depend_on_their_batch(surjection, x, target):
    together = surjection.back_project(x, target, torch.tensor([0.0, 0.5, 1.0]))
    for i, strength in enumerate((0.0, 0.5, 1.0)):
        one = slice(i, i + 1)
        assert_same(together[one], surjection.back_project(x[one], target[one], strength))
        assert_same(surjection.pinv(target)[one], surjection.pinv(target[one]))


def test_back_projection_takes_a_completed_target(surjection, x, target):
    assert_same(
        surjection.back_project(x, surjection.complete_pinv(target), completed=surjection.complete(x)),
        surjection.back_project(x, target),
    )


def test_naive_back_projection_adds_the_difference_of_pseudo_inverses(surjection, x, target):
    difference = surjection.pinv(target) - surjection.pinv(surjection(x))
    assert_same(surjection.naive_back_project(x, target, torch.tensor([0.0, 1.0, 1.0]))[0], x[0])
    assert_same(surjection.naive_back_project(x, target, 0.4), x + 0.4 * difference)


def test_gradients_flow_to_the_image_and_the_target(surjection, x, target):
    x.requires_grad_(True), target.requires_grad_(True)
    surjection.back_project(x, target, 0.5).square().mean().backward()
    assert all(end.grad.isfinite().all() and end.grad.any() for end in (x, target))


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_flow_to_every_weight(kind, x):
    surjection = prepare(NETWORKS[kind]()).requires_grad_(True)
    target = surjection(torch.randn_like(x))
    (surjection.back_project(x, target, 0.5) + surjection.pinv(target)).square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in surjection.parameters())


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_of_back_projection_are_its_slopes(kind):
    surjection = prepare(NETWORKS[kind]())
    x = torch.randn(1, *SHAPE, dtype=torch.double, requires_grad=True)
    target = surjection(torch.randn(1, *SHAPE, dtype=torch.double)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: surjection.back_project(x, y, 0.7), (x, target), fast_mode=True)


@pytest.mark.parametrize("kind", NETWORKS)
def test_pseudo_inverse_parameters_do_not_change_the_surjection(kind, x):
    surjection = prepare(NETWORKS[kind]())
    before = surjection.complete(x)
    pinv = surjection.pinv(before.y)
    for parameter in surjection.pinv_parameters():
        nn.init.normal_(parameter)
    assert distance(before, surjection.complete(x)).max() == 0
    assert not torch.allclose(surjection.pinv(before.y), pinv)


@st.composite
def networks(draw) -> SPNN:
    """Any network that the plan's language can say, of a small image."""
    factors = draw(st.sampled_from([(8,), (2, 4), (4, 2), (2, 2, 2), (1, 8), (2, 1, 4, 1), (3, 2)]))
    size, channels = 1, draw(st.integers(1, 3))
    for factor in factors:
        size *= factor
    shape, plan = (channels, size, size), []
    for factor in factors:
        mixed = channels * factor**2
        assume(mixed > 1)
        channels = draw(st.integers(max(1, min(mixed - 1, 40) - 20), min(mixed - 1, 40)))
        layers = draw(
            st.sampled_from(
                [
                    {"hidden": 6},
                    {"st": "conv3 6, conv1", "r": "conv1"},
                    {"s": "conv5 4, conv3", "t": "conv1", "r": "conv3 4, conv3"},
                ]
            )
        )
        plan.append(
            {
                "unshuffle": factor,
                "channels": channels,
                "mixing": draw(st.sampled_from(sorted(MIXINGS))),
                "scale_bound": draw(st.floats(0, 2)),
                **layers,
            }
        )
    return SPNN(shape, plan)


@given(net=networks(), strength=st.floats(0, 1), batch=st.integers(1, 3), seed=st.integers(0, 2**16))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_plan_makes_a_pseudo_invertible_network(net, strength, batch, seed):
    torch.manual_seed(seed)
    prepare(net)
    x = torch.randn(batch, *net.image_shape, dtype=torch.double)
    target = torch.randn(batch, net.num_outputs, dtype=torch.double)
    assert_same(net.invert(*net.complete(x)), x)
    assert_same(net(net.pinv(target)), target)
    assert_same(net(net.back_project(x, target)), target)
    assert_same(net(net.back_project(x, target, strength)), torch.lerp(net(x), target, strength))


def test_wrong_shapes_are_named(surjection, x, target):
    with pytest.raises(InputError, match="one target per sample"):
        surjection.back_project(x, target[:2])
    with pytest.raises(InputError, match="one per sample"):
        surjection.back_project(x, target, torch.ones(2))
    with pytest.raises(InputError, match="one target per sample"):
        surjection.naive_back_project(x, target[:1])
    with pytest.raises(InputError, match="one per sample"):
        surjection.naive_back_project(x, target, torch.ones(2))


def test_latents_that_images_have_are_those_nearest_to_others(surjection, x, target):
    z = [latent + torch.randn_like(latent) for latent in surjection.complete(x).z]
    there = Completion(target, surjection.nearest_latents(z))
    assert_same(surjection.complete(surjection.invert(*there)), there)
    assert_same(Completion(target, surjection.nearest_latents(there.z)), there)


def stretch(surjection: Surjection, here: Completion) -> torch.Tensor:
    """The log-determinant of the inverse's Jacobian at one point, along the latents that images have."""
    parts = [here.y, *here.z]

    def inverse(*offsets):
        y, *z = (offset.unsqueeze(0) for offset in offsets)
        moved = surjection.nearest_latents(z)
        return surjection.invert(here.y + y, [at + move for at, move in zip(here.z, moved, strict=True)]).flatten()

    zeros = tuple(torch.zeros_like(part[0]) for part in parts)
    jacobian = torch.autograd.functional.jacobian(inverse, zeros)
    jacobian = torch.cat([part.flatten(1) for part in jacobian], dim=1)
    return torch.linalg.slogdet(jacobian @ jacobian.T).logabsdet / 2


def test_volumes_are_stretched_as_the_jacobian_says(surjection, x):
    (_, first), (_, second) = (surjection.invert_with_log_det(*surjection.complete(image)) for image in (x[:1], x[1:2]))
    expected = stretch(surjection, surjection.complete(x[1:2])) - stretch(surjection, surjection.complete(x[:1]))
    torch.testing.assert_close((second - first).squeeze(), expected, rtol=1e-6, atol=1e-6)
