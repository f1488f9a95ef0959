"""Guidance moves predicted clean images towards their targets; what each image becomes is its own business."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from spnn import SPNN, Composition
from spnn.diffusion import (
    BackProjection,
    ConstantStrength,
    CosineStrength,
    DecoupledAnnealing,
    Denoised,
    GaussianMixturePrior,
    GradientGuidance,
    HardConsistency,
    ImageNoise,
    LinearStrength,
    NoiseSchedule,
    NoiseStrength,
    PiecewiseStrength,
    PosteriorGuidance,
    PseudoinverseGuidance,
    RedDiff,
    Sampler,
    SignalStrength,
    TargetGuidance,
    TrainingFreeGuidance,
    UniversalGuidance,
)
from spnn.errors import InputError
from spnn.operators import AveragePool, Gamma, Matrix, Ripple
from spnn.readout import VALUES

SCHEDULE = NoiseSchedule()
SHAPE = (1, 4, 4)
FULL = ConstantStrength(1.0)
PRIOR = GaussianMixturePrior.isotropic(torch.zeros(1, *SHAPE), deviation=0.5)


def net() -> SPNN:
    plan = [{"unshuffle": 4, "channels": 3, "st": "conv1 8, conv1", "r": "conv1 8, conv1"}]
    net = SPNN(SHAPE, plan)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.requires_grad_(False)


GUIDANCES = {
    "nlbp": lambda *a, **k: BackProjection(*a, schedule=PiecewiseStrength([(600, 0.5), (0, 1.0)]), stop=0.05, **k),
    "naive": lambda *a, **k: BackProjection(*a, schedule=PiecewiseStrength([(400, 0), (0, 1.0)]), rule="naive", **k),
    "gentle": lambda *a, **k: BackProjection(*a, schedule=ConstantStrength(0.5), stop=0.05, pinv="closed_form", **k),
    "gradient": lambda *a, **k: GradientGuidance(*a, schedule=LinearStrength(), rate=0.1, iterations=2, stop=0.05, **k),
    "bounded": lambda *a, **k: BackProjection(*a, schedule=FULL, bound=0.08, exact=True, **k),
    "dps": lambda *a, **k: PosteriorGuidance(*a, schedule=FULL, stop=0.05, bound=0.5, **k),
    "tfg": lambda *a, **k: TrainingFreeGuidance(*a, schedule=FULL, stop=0.05, smoothing=0.1, draws=2, **k),
    "pigdm": lambda *a, **k: PseudoinverseGuidance(*a, schedule=FULL, rule="nlbp", bound=0.5, stop=0.05, **k),
    "red_diff": lambda *a, **k: RedDiff(*a, schedule=LinearStrength(), stop=0.05, clip=True, **k),
    "daps": lambda *a, **k: DecoupledAnnealing(*a, schedule=FULL, stop=0.05, noise=1.0, iterations=3, **k),
    "resample": lambda *a, **k: HardConsistency(*a, schedule=FULL, rate=0.1, iterations=5, stop=0.05, clip=True, **k),
    "ugd": lambda *a, **k: UniversalGuidance(*a, schedule=FULL, clip=True, iterations=2, **k),
}
RULES = {
    "nlbp": BackProjection,
    "naive": partial(BackProjection, rule="naive"),
    "gradient": partial(GradientGuidance, rate=0.1),
}


def length(move: torch.Tensor) -> torch.Tensor:
    """Root mean square over each image's pixels."""
    return (move.double() ** 2).flatten(1).mean(1).sqrt()


@pytest.mark.parametrize("free", [False, True], ids=["all", "some free"])
@pytest.mark.parametrize("name", GUIDANCES)
def test_an_image_does_not_depend_on_its_batch(name, free):
    network = net()
    targets = network(torch.randn(4, *SHAPE))
    mask = torch.tensor([False, True, False]).expand(4, 3) if free else None

    def sample(which):
        guidance = GUIDANCES[name](network, targets[which], free=None if mask is None else mask[which])
        sampler = Sampler(SCHEDULE, 20, travel_length=5, travel_repeat=2)
        return sampler(PRIOR, ImageNoise([7 + i for i in which], SHAPE), guidance)

    together = sample([0, 1, 2, 3])
    for i in range(4):
        torch.testing.assert_close(sample([i])[0], together[i], rtol=0, atol=1e-4)
    torch.testing.assert_close(sample([3, 1]), together[[3, 1]], rtol=0, atol=1e-4)


def test_full_back_projection_leads_to_the_target():
    network = net()
    target = network(torch.randn(5, *SHAPE))
    guidance = BackProjection(network, target, schedule=FULL)
    samples = Sampler(SCHEDULE, 20)(PRIOR, ImageNoise(range(5), SHAPE), guidance)
    torch.testing.assert_close(network(samples), target, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["nlbp", "naive", "gradient"])
def test_stopped_images_are_left_alone_and_others_moved(kind):
    network = net()
    x = torch.randn(3, *SHAPE)
    target = network(x)
    target[1] += 3
    if kind == "gradient":
        guidance = GradientGuidance(network, target, schedule=FULL, stop=0.05)
    else:
        guidance = BackProjection(network, target, schedule=FULL, stop=0.05, rule=kind)
    moved = guidance(x, 0)
    assert torch.equal(moved[[0, 2]], x[[0, 2]])
    assert not torch.allclose(moved[1], x[1])


def test_the_work_of_back_projection_is_done_for_images_that_need_it_alone():
    network, seen = net(), []
    x = torch.randn(6, *SHAPE)
    target = network(x)
    target[[1, 4]] += 3
    guidance = BackProjection(network, target, schedule=FULL, stop=0.05)
    invert = network.parts[0].invert
    network.parts[0].invert = lambda y, z: (seen.append(len(y)), invert(y, z))[1]
    guidance(x, 0)
    assert max(seen) == 2


def test_free_coordinates_follow_the_image_and_the_others_are_met():
    network = net()
    x, target = torch.randn(5, *SHAPE), torch.randn(5, 3)
    free = torch.tensor([True, False, True]).expand(5, 3)
    y = network(BackProjection(network, target, schedule=FULL, free=free)(x, 0))
    torch.testing.assert_close(y[:, [0, 2]], network(x)[:, [0, 2]], rtol=0, atol=1e-4)
    torch.testing.assert_close(y[:, 1], target[:, 1], rtol=0, atol=1e-4)
    right = torch.where(free, torch.tensor(100.0), network(x))  # whatever stands at free coordinates
    stopped = BackProjection(network, right, schedule=FULL, free=free, stop=0.01)
    assert torch.equal(stopped(x, 0), x)
    with pytest.raises(InputError, match=r"`free` has shape \(3,\)"):
        BackProjection(network, target, schedule=FULL, free=free[0])


def test_the_gradient_rule_descends_on_the_loss():
    network = net()
    x, target = torch.randn(5, *SHAPE), network(torch.randn(5, *SHAPE))
    moved = GradientGuidance(network, target, schedule=FULL, rate=0.05, iterations=100)(x, 0)

    def gap(x):
        return (network(x).sigmoid() - target.sigmoid()).abs().mean()

    assert gap(moved) < gap(x) / 5
    assert not moved.requires_grad


def test_for_orthonormal_rows_the_gradient_rule_is_gentle_back_projection():
    rows = torch.linalg.qr(torch.randn(16, 5))[0].T
    operator = Matrix(rows, SHAPE)
    x, y = torch.randn(4, *SHAPE), torch.randn(4, 5)
    strength = ConstantStrength(0.6)
    by_gradient = GradientGuidance(operator, y, schedule=strength, rate=0.5, readout=VALUES)(x, 0)
    by_projection = BackProjection(operator, y, schedule=ConstantStrength(0.3), readout=VALUES)(x, 0)
    torch.testing.assert_close(by_gradient, by_projection, rtol=0, atol=1e-5)


def test_measurements_of_any_shape_are_met_and_their_stop_rule_looks_at_values():
    operator = Composition(Ripple(0.5, 4), Gamma(2.2), AveragePool(2, SHAPE))
    x, y = torch.rand(3, *SHAPE), operator(torch.rand(3, *SHAPE))
    moved = BackProjection(operator, y, schedule=FULL, readout=VALUES)(x, 0)
    torch.testing.assert_close(operator(moved), y, rtol=0, atol=1e-4)
    stopped = BackProjection(operator, operator(x) + 0.01, schedule=FULL, stop=0.02, readout=VALUES)
    assert torch.equal(stopped(x, 0), x)


def test_guidance_keeps_full_precision_under_autocast():
    network = net()
    x, target = torch.randn(5, *SHAPE), torch.randn(5, 3)
    guidance = BackProjection(network, target, schedule=FULL)
    with torch.autocast("cpu", torch.bfloat16):
        moved = guidance(x, 0)
    torch.testing.assert_close(network(moved), target, rtol=0, atol=1e-4)


def test_clipping_keeps_pixels_in_range():
    network, noise = net(), ImageNoise(range(4), SHAPE)
    target = network(3 * torch.randn(4, *SHAPE))
    wide = GaussianMixturePrior.isotropic(torch.zeros(1, *SHAPE), deviation=2.0)
    guidance = BackProjection(network, target, schedule=FULL, clip=True)
    for step in Sampler(SCHEDULE, 10, clip=True).trajectory(wide, noise, guidance):
        assert step.x0.abs().max() <= 1


@pytest.mark.parametrize("rule", RULES)
def test_long_moves_are_shortened_to_the_bound_and_short_ones_left_alone(rule):
    network, make = net(), RULES[rule]
    x = torch.randn(6, *SHAPE)
    target = network(torch.randn(6, *SHAPE))
    free = make(network, target, schedule=FULL)(x, 0)
    lengths = length(free - x)
    bound = lengths.median().item() * 1.001
    bounded = make(network, target, schedule=FULL, bound=bound)(x, 0)
    long = lengths > bound
    assert 0 < long.sum() < 6
    assert torch.equal(bounded[~long], free[~long])
    torch.testing.assert_close(length(bounded - x)[long], torch.full_like(lengths[long], bound), rtol=1e-5, atol=0)
    moves = ((moved - x)[long].flatten(1) for moved in (free, bounded))
    torch.testing.assert_close(torch.cosine_similarity(*moves), torch.ones(int(long.sum())), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_bounded_move_is_clipped_after_it_is_shortened(rule):
    network, make = net(), RULES[rule]
    x, target = torch.randn(4, *SHAPE).sign() * 0.999, network(3 * torch.randn(4, *SHAPE))
    bound = length(make(network, target, schedule=FULL)(x, 0) - x).min().item() / 2
    bounded = make(network, target, schedule=FULL, bound=bound)(x, 0)
    clipped = make(network, target, schedule=FULL, bound=bound, clip=True)(x, 0)
    assert bounded.abs().max() > 1 and torch.equal(clipped, bounded.clamp(-1, 1))


def test_images_that_need_no_move_stay_where_they_are_under_a_bound():
    x = torch.randn(3, *SHAPE)
    operator = AveragePool(2, SHAPE)
    guidance = GradientGuidance(operator, operator(x), schedule=FULL, bound=0.1, readout=VALUES)
    assert torch.equal(guidance(x, 0), x)


@pytest.mark.parametrize("exact", [True, False])
def test_only_an_exact_last_step_meets_the_target_whatever_holds_the_others_back(exact):
    network = net()
    target = network(2 * torch.randn(5, *SHAPE))
    schedule = PiecewiseStrength([(20, 1.0), (0, 0.0)])  # the last step is left to the prior
    options = {"schedule": schedule, "bound": 0.02, "clip": True, "stop": 0.05}
    guidance = BackProjection(network, target, exact=exact, **options)
    *others, last = Sampler(SCHEDULE, 20).trajectory(PRIOR, ImageNoise(range(5), SHAPE), guidance)
    met = [((network(step.x0) - target).abs() <= 1e-4).all(1).tolist() for step in (others[-1], last)]
    assert met == [[False] * 5, [exact] * 5]


def test_an_exact_last_step_keeps_free_coordinates():
    network = net()
    x, target = torch.randn(5, *SHAPE), torch.randn(5, 3)
    free = torch.tensor([True, False, True]).expand(5, 3)
    y = network(
        BackProjection(network, target, schedule=ConstantStrength(0.5), bound=0.01, free=free, exact=True)(x, 0)
    )
    torch.testing.assert_close(y, torch.where(free, network(x), target), rtol=0, atol=1e-4)


def test_strengths_say_what_they_are_at_each_level_of_noise():
    strength = PiecewiseStrength([(600, 0.5), (0, 1.0), (400, 0.0)])
    assert [strength(t) for t in (999, 600, 599, 400, 399, 0)] == [0.5, 0.5, 0.0, 0.0, 1.0, 1.0]
    assert ConstantStrength(0.3)(500) == 0.3
    linear, cosine = LinearStrength(0.2, 0.8), CosineStrength(0.2, 0.8)
    assert (linear(999), linear(0), cosine(999), cosine(0)) == pytest.approx((0.2, 0.8, 0.2, 0.8))
    assert linear(333) == pytest.approx(0.6) and cosine(333) == pytest.approx(0.2 + 0.6 * 0.75)
    level = next(t for t in range(1000) if SCHEDULE.alpha_bar(t) <= 0.5)  # where the noise's deviation is one
    assert NoiseStrength(half=1.0)(level) == pytest.approx(0.5, abs=0.01)
    assert SignalStrength()(level) == pytest.approx(0.5**0.5, abs=0.01)
    assert NoiseStrength(half=1.0)(0) > 0.999 and NoiseStrength(half=0.5)(level) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("num_steps", [100, 1000, 4000])
@pytest.mark.parametrize("strength", [LinearStrength(), CosineStrength(), NoiseStrength(), SignalStrength()])
def test_strengths_are_the_same_for_priors_of_any_length(num_steps, strength):
    schedule = NoiseSchedule(num_steps, 0.1 / num_steps, 20 / num_steps)
    asked, seen = [], []

    def prior(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t[0].item())
        return torch.zeros_like(x)

    def guidance(x0: Tensor, t: int) -> Tensor:
        asked.append(t)
        return x0

    sampler = Sampler(schedule, 50)
    sampler(prior, lambda: torch.zeros(1, 1, 2, 2), guidance)
    assert asked == sampler.levels() and asked == pytest.approx([20 * i for i in range(49, -1, -1)], abs=10)
    assert seen == [num_steps // 50 * i for i in range(49, -1, -1)]
    assert [strength(t) for t in asked] == pytest.approx([strength(20 * i) for i in range(49, -1, -1)], abs=0.02)
    assert 0 <= strength(sampler.level(num_steps - 1)) < 0.01
    assert Sampler(schedule, 50, start=400).num_steps == pytest.approx(21, abs=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PiecewiseStrength([]),
        lambda: PiecewiseStrength([(400, 1.0)]),
        lambda: PiecewiseStrength([(0, 1.5)]),
        lambda: ConstantStrength(-0.1),
        lambda: LinearStrength(noisy=2.0),
        lambda: NoiseStrength(half=0.0),
        lambda: BackProjection(net(), torch.zeros(1, 3), schedule=FULL, rule="linear"),
        lambda: BackProjection(net(), torch.zeros(1, 3), schedule=FULL, rule="naive", exact=True),
        lambda: BackProjection(net(), torch.zeros(1, 3), schedule=FULL, bound=0.0),
        lambda: GradientGuidance(net(), torch.zeros(1, 3), schedule=FULL, bound=-0.1),
        lambda: GradientGuidance(net(), torch.zeros(1, 3), schedule=FULL, bound=math.nan),
    ],
)
def test_strengths_bounds_and_rules_out_of_range_are_refused(make):
    with pytest.raises(InputError, match=r"must|'linear'|only rule=nlbp"):
        make()


class Own(TargetGuidance):
    """A guidance that gives what it is told."""

    def __init__(self, what):
        super().__init__(AveragePool(2, SHAPE), torch.zeros(5, 1, 2, 2), schedule=FULL, readout=VALUES)
        self.what = what

    def correct(self, x0, here, which, strength):
        return self.what


class Through(Own):
    def guide(self, denoise, x, level):
        return self.what


@pytest.mark.parametrize(
    "made, message",
    [
        (Own(None), r"Own must give the images that it moves of shape \[5, .*\], but gave NoneType"),
        (Own(torch.zeros(5, 1)), r"but gave a tensor of shape \[5, 1\]"),
        (Through(None), "Through.guide must give a Denoised, but gave NoneType"),
        (Through(Denoised(torch.zeros(1, *SHAPE), torch.zeros(5, *SHAPE))), "clean images and noise"),
        (lambda x0, t: None, "must give clean images"),
    ],
)
def test_what_an_own_guidance_gives_is_checked(made, message):
    with pytest.raises(InputError, match=message):
        Sampler(SCHEDULE, 3)(PRIOR, ImageNoise(range(5), SHAPE), made)


@pytest.mark.parametrize("wrong", [None, torch.zeros(5, 1, 2, 2)])
def test_what_an_own_prior_gives_is_checked(wrong):
    with pytest.raises(InputError, match="must give a Denoised, or noise of shape"):
        Sampler(SCHEDULE, 3)(lambda x, t: wrong, ImageNoise(range(5), SHAPE))
