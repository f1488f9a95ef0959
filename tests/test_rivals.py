"""Guidances of others, as their configs make them, against closed forms for a Gaussian prior and a linear operator."""

from collections.abc import Callable

import pytest
import torch
from commands import configuration
from hydra.utils import instantiate
from torch import Tensor

from spnn.diffusion import (
    Denoised,
    Denoiser,
    GaussianMixturePrior,
    GradientGuidance,
    Level,
    PosteriorGuidance,
    Sampler,
)
from spnn.diffusion.guidance import guide
from spnn.errors import InputError
from spnn.operators import Matrix
from spnn.readout import VALUES

SHAPE, DEVIATION = (3, 2, 2), 0.7
PRIOR = GaussianMixturePrior.isotropic(torch.zeros(1, *SHAPE), DEVIATION)
LEVELS = [(900, 880), (400, 380), (20, -1)]


def operator(outputs: int = 5) -> Matrix:
    generator = torch.Generator().manual_seed(0)
    return Matrix(torch.randn(outputs, 12, generator=generator), SHAPE)


def named(name: str, y: Tensor, **options):
    """A guidance as ``guidance=<name>`` makes it, with some options changed."""
    made = instantiate(configuration("sample", "run=x", f"guidance={name}").guidance, **options)
    return made(operator(y.shape[1]), y, readout=VALUES)


def level_of(t: int, s: int) -> Level:
    alpha, alpha_s = PRIOR.schedule.alpha_bar(t), PRIOR.schedule.alpha_bar(s)
    return Level(t, alpha**0.5, (1 - alpha) ** 0.5, alpha_s**0.5)


def step(guidance, x: Tensor, level: Level, noise: Callable[[], Tensor] | None = None) -> Denoised:
    denoise = Denoiser(lambda x: PRIOR(x, torch.full((len(x),), level.t)), noise or (lambda: torch.randn_like(x)))
    return guide(guidance, denoise, x, level)


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
