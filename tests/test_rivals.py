"""Guidances of others, as their configs make them, against closed forms for a Gaussian prior and a linear operator."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from commands import configuration
from hydra.utils import instantiate
from torch import Tensor

from spnn.diffusion import (
    ClassifierGuidance,
    Denoised,
    Denoiser,
    GaussianMixturePrior,
    GradientGuidance,
    ImageNoise,
    LatentPrior,
    Level,
    PosteriorGuidance,
    Sampler,
)
from spnn.diffusion.guidance import guide
from spnn.errors import InputError
from spnn.operators import Matrix
from spnn.readout import VALUES, Values

SHAPE, DEVIATION = (3, 2, 2), 0.7
PRIOR = GaussianMixturePrior.isotropic(torch.zeros(1, *SHAPE), DEVIATION)
RIVALS = ["dps", "freedom", "mpgd", "ugd", "tfg", "pigdm", "red_diff", "daps", "resample"]
LEVELS = [(900, 880), (400, 380), (20, -1)]


def operator(outputs: int = 5) -> Matrix:
    generator = torch.Generator().manual_seed(0)
    return Matrix(torch.randn(outputs, 12, generator=generator), SHAPE)


def named(name: str, y: Tensor, free: Tensor | None = None, **options):
    """A guidance as ``guidance=<name>`` makes it, with some options changed."""
    made = instantiate(configuration("sample", "run=x", f"guidance={name}").guidance, **options)
    return made(operator(y.shape[1]), y, free=free, readout=VALUES)


def level_of(t: int, s: int) -> Level:
    alpha, alpha_s = PRIOR.schedule.alpha_bar(t), PRIOR.schedule.alpha_bar(s)
    return Level(t, alpha**0.5, (1 - alpha) ** 0.5, alpha_s**0.5)


def step(guidance, x: Tensor, level: Level, noise: Callable[[], Tensor] | None = None) -> Denoised:
    def denoise(x):
        return PRIOR(x, torch.full((len(x),), level.t))

    return guide(guidance, Denoiser(level, denoise, noise or (lambda: torch.randn_like(x)), at=None), x, level)


class Closed:
    """What the prior makes of noisy images, and the energy's gradient there."""

    def __init__(self, level: Level, x: Tensor, y: Tensor):
        self.slope = level.signal * DEVIATION**2 / (level.signal**2 * DEVIATION**2 + level.sigma**2)  # of x0(x_t)
        self.left_open = 1 / (DEVIATION**-2 + (level.signal / level.sigma) ** 2)  # the variance of x0 given x_t
        self.matrix, self.y = operator(y.shape[1]).matrix.values.float(), y
        self.mean, self.noise = self.slope * x, (x - level.signal * self.slope * x) / level.sigma

    def pull(self, y: Tensor) -> Tensor:
        return (y @ self.matrix).unflatten(1, SHAPE)

    def gradient(self, x0: Tensor) -> Tensor:
        return self.pull(x0.flatten(1) @ self.matrix.T - self.y)


@pytest.fixture(params=LEVELS, ids=lambda pair: f"t={pair[0]}")
def level(request) -> Level:
    return level_of(*request.param)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, *SHAPE)


@pytest.fixture
def y() -> Tensor:
    return torch.randn(4, 5)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_freedom_goes_along_the_energys_gradient_through_the_prior(level, x, y):
    closed, found = Closed(level, x, y), step(named("freedom", y, rate=0.2), x, level)
    through = closed.slope * closed.gradient(closed.mean)
    same(found.mean, closed.mean - 0.2 * level.signal / level.next_signal * through)
    same(found.noise, closed.noise)


def test_mpgd_goes_along_the_energys_gradient_at_the_clean_image(level, x, y):
    closed, found = Closed(level, x, y), step(named("mpgd", y, rate=0.02), x, level)
    same(found.mean, closed.mean - 0.02 * closed.gradient(closed.mean))
    same(found.noise, closed.noise)


def test_universal_guidance_corrects_the_noise_forwards_and_backwards(level, x, y):
    closed = Closed(level, x, y)
    found = step(named("ugd", y, rate=0.1, mean_rate=0.02, iterations=2), x, level)
    descended = closed.mean
    for _ in range(2):
        descended = descended - 0.02 * closed.gradient(descended)
    noise = closed.noise + 0.1 * level.sigma * closed.slope * closed.gradient(closed.mean)
    noise = noise - level.signal / level.sigma * (descended - closed.mean)
    same(found.noise, noise)
    same(level.signal * found.mean + level.sigma * found.noise, x)


def test_a_classifier_of_noisy_images_gives_the_posterior_mean(level, x, y):
    """One that knows what ``y`` is expected to be, weighed by how sure that is."""
    closed, noise = Closed(level, x, y), 0.3
    covariance = closed.left_open * closed.matrix @ closed.matrix.T + noise**2 * torch.eye(5)
    root = torch.linalg.cholesky(torch.linalg.inv(covariance))  # so that half the squared distance is -log p(y | x_t)

    class Expected(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (closed.slope * x).flatten(1) @ closed.matrix.T @ root

    options = {"schedule": lambda t: 1.0, "readout": Values([*"abcde"]), "classifier": Expected()}
    found = step(ClassifierGuidance(operator(), y @ root, **options), x, level)
    gain = closed.left_open * closed.matrix.T @ torch.linalg.inv(covariance)
    move = (y - closed.mean.flatten(1) @ closed.matrix.T) @ gain.T
    same(found.mean, closed.mean + move.unflatten(1, SHAPE))
    same(level.signal * found.mean + level.sigma * found.noise, x)


def test_tfg_adds_what_its_special_cases_move(level, x, y):
    options = {"schedule": lambda t: 0.8, "readout": VALUES}
    prior = PRIOR(x, torch.full((4,), level.t)).mean
    through = step(PosteriorGuidance(operator(), y, rate=0.2, norm=False, **options), x, level).mean
    clean = step(GradientGuidance(operator(), y, rate=0.02, iterations=3, **options), x, level).mean

    def tfg(**rates) -> Tensor:
        return step(named("tfg", y, iterations=3, smoothing=0, schedule=options["schedule"], **rates), x, level).mean

    same(tfg(rate=0.2, mean_rate=0), through)
    same(tfg(rate=0, mean_rate=0.02), clean)
    same(tfg(rate=0.2, mean_rate=0.02), through + clean - prior)


def test_tfg_descends_on_the_energy_that_noise_smooths():
    """Of Gaussian noise and squared distances: the residual in the metric of the noise's outputs."""
    x, y, level = torch.randn(2, *SHAPE), torch.randn(2, 2), level_of(900, 880)
    closed = Closed(level, x, y)
    guidance = named("tfg", y, rate=0, mean_rate=0.1, iterations=1, smoothing=0.3, draws=4000)
    found = step(guidance, x, level)
    outputs = closed.matrix @ closed.matrix.T
    metric = torch.linalg.inv(torch.eye(2) + (0.3 * level.sigma) ** 2 * outputs)
    residual = closed.mean.flatten(1) @ closed.matrix.T - y
    torch.testing.assert_close(found.mean, closed.mean - 0.1 * closed.pull(residual @ metric), rtol=0, atol=0.02)


def posterior(level: Level, x: Tensor, y: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance of clean images given noisy ones and the targets, in double precision."""
    closed = Closed(level, x, y)
    matrix = closed.matrix.double()
    spread = closed.left_open * matrix @ matrix.T + noise**2 * torch.eye(len(matrix)).double()
    gain = closed.left_open * torch.linalg.solve(spread, matrix).T
    mean = closed.mean.flatten(1).double()
    mean = mean + (y.double() - mean @ matrix.T) @ gain.T
    return mean.unflatten(1, SHAPE).float(), closed.left_open * (torch.eye(12).double() - gain @ matrix)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("rule", ["naive", "nlbp"])
def test_pigdm_gives_the_posterior_mean_and_the_noise_that_goes_with_it(level, x, y, rule, noise):
    found = step(named("pigdm", y, noise=noise, deviation=DEVIATION, rule=rule), x, level)
    torch.testing.assert_close(found.mean, posterior(level, x, y, noise)[0], rtol=1e-3, atol=1e-3)
    same(level.signal * found.mean + level.sigma * found.noise, x)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_pigdm_draws_from_the_posterior_of_a_gaussian(noise):
    y, count = torch.tensor([[1.0, -0.5, 0.3]]), 3000
    guidance = named("pigdm", y.expand(count, -1), noise=noise, deviation=DEVIATION)
    sampler = Sampler(PRIOR.schedule, 250, eta=1.0)
    samples = sampler(PRIOR, lambda: torch.randn(count, *SHAPE), guidance).flatten(1)
    level = level_of(999, 998)._replace(signal=0.0, sigma=1.0)  # noise that tells nothing
    mean, covariance = posterior(level, torch.zeros(1, *SHAPE), y, noise)
    torch.testing.assert_close(samples.mean(0), mean.flatten(), rtol=0, atol=0.04)
    torch.testing.assert_close(samples.T.cov(), covariance.float(), rtol=0, atol=0.05)


@pytest.mark.parametrize("t, s", LEVELS[:2])
def test_red_diff_balances_the_target_and_the_prior(t, s, y):
    """Held at one level without noise, it ends where the gradients of both cancel out."""
    guidance, nothing = named("red_diff", y, rate=0.01, weight=0.5, clip=False), partial(torch.zeros, 4, *SHAPE)
    level, x = level_of(t, s), nothing()
    for _ in range(800):
        x = level.signal * step(guidance, x, level, nothing).mean
    closed = Closed(level, x, y)
    strength = 0.5 * (1 - level.signal * closed.slope)  # of the prior: how much less it makes of an image
    normal = closed.matrix.T @ closed.matrix + strength * torch.eye(12)
    expected = torch.linalg.solve(normal, closed.pull(y).flatten(1).T).T.unflatten(1, SHAPE)
    torch.testing.assert_close(x / level.signal, expected, rtol=0, atol=0.02)


def test_red_diff_is_its_loop_of_losses_and_begins_anew_with_each_sampling(y):
    sampler = Sampler(PRIOR.schedule, 8, travel_length=2, travel_repeat=2)
    guidance, matrix = named("red_diff", y, clip=False), operator().matrix.values.float()
    noises, image, descent = ImageNoise(range(4), SHAPE), None, None
    x = noises()
    for t, s in pairwise(sampler.visited):
        level = level_of(t, s)
        if s < t:
            predicted = PRIOR(x, torch.full((4,), t))
            if image is None:
                image = predicted.mean.clone().requires_grad_()
                descent = torch.optim.Adam([image], lr=0.1, betas=(0.9, 0.99))
            noise = ((x - level.signal * image) / level.sigma).detach()
            misfit = (image.flatten(1) @ matrix.T - y).square().sum() / 2
            agreement = ((predicted.noise - noise) * image).sum() * level.sigma / level.signal
            descent.zero_grad()
            (misfit + 0.25 * agreement).backward()
            descent.step()
        x = level.next_signal * image.detach() + (1 - level.next_signal**2) ** 0.5 * noises()
    draw = partial(sampler.trajectory, PRIOR)
    next(draw(ImageNoise(range(4, 8), SHAPE), guidance))  # given up after a step
    for _ in range(2):
        *_, last = draw(ImageNoise(range(4), SHAPE), guidance)
        torch.testing.assert_close(last.x0, image.detach(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("t, s", LEVELS[:2])
def test_daps_draws_clean_images_from_their_posterior(t, s):
    level, count = level_of(t, s), 4000
    x, y = torch.randn(1, *SHAPE), 0.5 * torch.randn(1, 3)
    mean, covariance = posterior(level, x, y, noise=1.0)
    guidance = named("daps", y.expand(count, -1), noise=1.0, deviation=DEVIATION, rate=0.05, iterations=150)
    drawn = step(guidance, x.expand(count, -1, -1, -1), level, lambda: torch.randn(count, *SHAPE)).mean.flatten(1)
    torch.testing.assert_close(drawn.mean(0), mean.flatten(), rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.T.cov(), covariance.float(), rtol=0, atol=0.06)


@pytest.mark.parametrize(("steps", "apart"), [(1, 1.0), (100, 0.03)])
def test_daps_follows_the_prior_s_ode(steps, apart):
    """Which keeps how many deviations an image is from the mean: of Gaussian pixels, x0 is in proportion to x."""
    x, y = torch.randn(2, *SHAPE), torch.zeros(2, 3)
    guidance = named("daps", y, rate=1e-12, iterations=1, deviation=1e-3, ode_steps=steps)  # draws stay where they are
    denoise = Sampler(PRIOR.schedule, 20, clip=False).denoiser(PRIOR, lambda: torch.zeros_like(x), 500)
    level = denoise.level
    end = DEVIATION / (level.signal**2 * DEVIATION**2 + level.sigma**2) ** 0.5
    found = guide(guidance, denoise, x, level).mean / x
    assert found.std() < 1e-3
    assert (found.mean() - end).abs() < apart * end
    if steps == 1:
        assert found.mean().item() == pytest.approx(Closed(level, x, y).slope, abs=1e-3)


def test_samples_of_daps_have_the_posterior_mean():
    y, count = torch.tensor([[1.0, -0.5, 0.3]]), 3000
    guidance = named("daps", y.expand(count, -1), noise=1.0, deviation=DEVIATION, rate=0.1, iterations=40)
    samples = Sampler(PRIOR.schedule, 20)(PRIOR, lambda: torch.randn(count, *SHAPE), guidance)
    level = level_of(999, 998)._replace(signal=0.0, sigma=1.0)  # noise that tells nothing
    expected, covariance = posterior(level, torch.zeros(1, *SHAPE), y, noise=1.0)
    torch.testing.assert_close(samples.mean(0), expected[0], rtol=0, atol=0.05)
    torch.testing.assert_close(samples.flatten(1).T.cov(), covariance.float(), rtol=0, atol=0.06)


def test_hard_consistency_meets_targets_and_draws_from_a_product_of_gaussians(level, x, y):
    options = {"schedule": lambda t: 1.0, "rate": 0.05, "iterations": 3000, "stop": 1e-5, "clip": False}
    noise = torch.randn(4, *SHAPE)
    closed, found = Closed(level, x, y), step(named("resample", y, **options), x, level, lambda: noise)
    projected = closed.mean - (
        (closed.mean.flatten(1) @ closed.matrix.T - y) @ torch.linalg.pinv(closed.matrix).T
    ).unflatten(1, SHAPE)
    variance = 1 - level.next_signal**2
    drawn = level.next_signal * found.mean + variance**0.5 * found.noise  # by the deterministic sampler
    if variance == 0:
        torch.testing.assert_close(drawn, projected, rtol=0, atol=1e-3)
        return
    spread = 40 * variance / level.signal**2 * (1 - level.signal**2 / level.next_signal**2)
    free = level.next_signal * closed.mean + variance**0.5 * closed.noise
    precision = 1 / spread + 1 / variance
    mean = (free / spread + level.next_signal * projected / variance) / precision
    torch.testing.assert_close(drawn, mean + precision**-0.5 * noise, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", RIVALS)
def test_their_gradients_are_those_of_full_precision_under_autocast(name, level, x, y):
    options = {"iterations": 2} if name == "resample" else {}  # its rate is too much for this operator
    found, rough = (named(name, y, **options) for _ in range(2))
    found = step(found, x, level, partial(torch.zeros, 4, *SHAPE))
    with torch.autocast("cpu", torch.bfloat16):
        rough = step(rough, x, level, partial(torch.zeros, 4, *SHAPE))
    torch.testing.assert_close(rough, found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", RIVALS)
def test_a_free_coordinate_asks_for_nothing(name, level, x, y):
    """Whatever its target is."""
    free = torch.tensor([True, False, True, False, False]).expand(4, 5)
    other = torch.where(free, y + 3, y)
    found, same_but_free = (
        step(named(name, target, free=free), x, level, partial(torch.zeros, 4, *SHAPE)) for target in (y, other)
    )
    same(found.mean, same_but_free.mean)


@pytest.mark.parametrize("name", sorted(set(RIVALS) - {"mpgd"}))
def test_a_latent_prior_refuses_them_in_a_sentence(name, y):
    latent = LatentPrior(PRIOR, None, SHAPE)
    with pytest.raises(InputError, match="a latent prior gives neither"):
        Sampler(PRIOR.schedule, 3)(latent, ImageNoise(range(4), SHAPE), named(name, y))


@pytest.mark.parametrize(
    "name, options",
    [
        ("tfg", {"rate": -1}),
        ("tfg", {"rate": 0, "mean_rate": 0}),
        ("ugd", {"iterations": 0}),
        ("tfg", {"draws": 0}),
        ("pigdm", {"noise": -1}),
        ("pigdm", {"deviation": 0}),
    ],
)
def test_numbers_out_of_range_are_refused(name, options):
    with pytest.raises(InputError, match="must be"):
        named(name, torch.zeros(1, 5), **options)
