"""Targets with noise: guidance goes as far as the noise warrants, which for a linear operator is a closed form."""

from itertools import pairwise

import pytest
import torch

from spnn import Bijection, Composition
from spnn.diffusion import (
    ConstantStrength,
    GaussianMixturePrior,
    ImageNoise,
    NoiseSchedule,
    NoisyBackProjection,
    Sampler,
)
from spnn.diffusion.back_projection import BackProjection
from spnn.errors import InputError
from spnn.operators import Matrix

DEVIATION, NOISE = 0.7, 0.3


def operator(outputs: int = 5) -> Matrix:
    generator = torch.Generator().manual_seed(0)
    return Matrix(torch.randn(outputs, 12, generator=generator), (3, 2, 2))


def guidance(surjection, y, **options):
    return NoisyBackProjection(
        surjection, y, **{"noise": NOISE, "deviation": DEVIATION, **options}, schedule=ConstantStrength()
    )


@pytest.mark.parametrize("t", [900, 400, 30])
def test_a_step_gives_the_posterior_mean_of_a_gaussian_prior(t):
    a = operator()
    prior, schedule = GaussianMixturePrior.isotropic(torch.zeros(1, 3, 2, 2), DEVIATION), NoiseSchedule()
    y, x = torch.randn(4, 5), torch.randn(4, 3, 2, 2)
    corrected = guidance(a, y)(prior(x, torch.full((4,), t)).mean, t)
    # Both what x_t says of x_0 and what y says of it, as one Gaussian: precisions add up.
    alpha = schedule.alpha_bar(t)
    matrix = a(torch.eye(12).reshape(12, 3, 2, 2)).T.double()
    precision = torch.eye(12).double() * (DEVIATION**-2 + alpha / (1 - alpha)) + matrix.T @ matrix / NOISE**2
    said = x.flatten(1).double() * alpha**0.5 / (1 - alpha) + y.double() @ matrix / NOISE**2
    expected = torch.linalg.solve(precision, said.T).T
    torch.testing.assert_close(corrected.flatten(1).double(), expected, rtol=0, atol=1e-4)


def test_without_noise_to_speak_of_it_is_plain_back_projection():
    a, y, x = operator(), torch.randn(4, 5), torch.randn(4, 3, 2, 2)
    plain = BackProjection(a, y, schedule=ConstantStrength())(x, 500)
    torch.testing.assert_close(guidance(a, y, noise=1e-3)(x, 500), plain, rtol=0, atol=1e-3)


class Bend(Bijection):
    """A change of coordinates that isn't linear."""

    def forward(self, x):
        return torch.asinh(2 * x)

    def inverse(self, y):
        return torch.sinh(y) / 2


def test_the_noisier_the_target_the_shorter_is_the_move_also_of_an_operator_that_is_not_linear():
    g, y, x = Composition(Bend(), operator()), torch.randn(4, 5), torch.randn(4, 3, 2, 2)
    gaps = [(g(guidance(g, y, noise=noise)(x, 500)) - y).abs().mean() for noise in (0.01, 0.3, 1.0, 30.0)]
    assert all(first < second for first, second in pairwise(gaps)) and gaps[0] < 0.01
    torch.testing.assert_close(gaps[-1], (g(x) - y).abs().mean(), rtol=0.05, atol=0)
    alone = guidance(g, y[1:2])(x[1:2], 500)
    torch.testing.assert_close(guidance(g, y)(x, 500)[1:2], alone)  # whatever the batch


def test_samples_have_the_posterior_mean():
    a = operator(3)
    prior, count = GaussianMixturePrior.isotropic(torch.zeros(1, 3, 2, 2), DEVIATION), 2000
    y = torch.tensor([[1.0, -0.5, 0.3]])
    matrix = a(torch.eye(12).reshape(12, 3, 2, 2)).T
    covariance = torch.linalg.inv(torch.eye(12) / DEVIATION**2 + matrix.T @ matrix / NOISE**2)
    expected = covariance @ matrix.T @ y[0] / NOISE**2
    noise = ImageNoise(range(count), (3, 2, 2))
    samples = Sampler(NoiseSchedule(), 100)(prior, noise, guidance(a, y.expand(count, -1))).flatten(1)
    assert (samples.mean(0) - expected).abs().max() < 0.06
    fully = Sampler(NoiseSchedule(), 100)(
        prior, noise, BackProjection(a, y.expand(count, -1), schedule=ConstantStrength())
    )
    assert (samples @ matrix.T - y).square().mean() > 10 * (fully.flatten(1) @ matrix.T - y).square().mean()


@pytest.mark.parametrize("options", [{"noise": 0}, {"deviation": -1}, {"iterations": 0}, {"exact": True}])
def test_options_without_a_meaning_are_refused(options):
    with pytest.raises(InputError, match=r"must be positive|isn't met exactly"):
        guidance(operator(), torch.randn(1, 5), **options)
