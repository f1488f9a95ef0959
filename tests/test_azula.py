"""Denoisers of azula in our sampler, and ours in theirs, beside closed forms."""

from itertools import pairwise

import pytest
import torch
from azula.denoise import GaussianDenoiser
from azula.guidance.dps import DPSSampler
from azula.linalg.covariance import IsotropicCovariance
from azula.noise import CosineSchedule, RectifiedSchedule, VESchedule, VPSchedule
from azula.sample import DDIMSampler, DDPMSampler

from spnn.diffusion import (
    AzulaPrior,
    ConstantStrength,
    GaussianMixturePrior,
    ImageNoise,
    PosteriorGuidance,
    Sampler,
    as_azula,
)
from spnn.operators import AveragePool
from spnn.readout import VALUES

SHAPE = (1, 2, 2)
MEAN, DEVIATION = 0.3, 0.5
OURS = GaussianMixturePrior.isotropic(torch.full((1, *SHAPE), MEAN), deviation=DEVIATION)


def theirs(schedule) -> AzulaPrior:
    """The same Gaussian as a denoiser of azula."""
    covariance = IsotropicCovariance(torch.tensor(DEVIATION**2))
    return AzulaPrior(GaussianDenoiser(torch.full(SHAPE, MEAN), covariance, schedule), SHAPE)


@pytest.mark.parametrize(
    "schedule", [VESchedule(1e-3, 1e3), RectifiedSchedule(1e-3, 1e-3), VPSchedule(), CosineSchedule()]
)
def test_their_denoisers_draw_what_ours_does(schedule):
    prior, noise = theirs(schedule), torch.randn(4, *SHAPE)
    t = torch.tensor([3, 200, 700, 990])
    for step in t:  # one level for all images, and one for each
        mean, eps = prior(noise, step.expand(4))
        torch.testing.assert_close(mean, OURS(noise, step.expand(4)).mean, rtol=2e-3, atol=2e-3)
        signal, sigma = OURS.schedule.signal_and_noise(step.expand(4), noise)
        torch.testing.assert_close(signal * mean + sigma * eps, noise)
    sampler = Sampler(OURS.schedule, 100, eta=1.0)
    drawn, expected = (sampler(denoiser, ImageNoise(range(300), SHAPE)) for denoiser in (prior, OURS))
    torch.testing.assert_close(drawn, expected, rtol=0, atol=5e-3)
    assert drawn.mean() == pytest.approx(MEAN, abs=0.05) and drawn.std() == pytest.approx(DEVIATION, rel=0.1)


@pytest.mark.parametrize("sampler", [DDPMSampler, DDIMSampler])
def test_their_samplers_draw_from_ours(sampler):
    torch.manual_seed(0)
    drawing = sampler(as_azula(OURS), steps=1000, silent=True)
    x = drawing(drawing.init((2000, *SHAPE)))
    assert x.mean() == pytest.approx(MEAN, abs=0.03) and x.std() == pytest.approx(DEVIATION, rel=0.03)


def test_posterior_guidance_is_their_dps():
    operator, y, rate = AveragePool(2, SHAPE), torch.tensor([[[[0.9]]]]), 0.7
    guidance = PosteriorGuidance(operator, y, schedule=ConstantStrength(), rate=rate, readout=VALUES)
    sampler = Sampler(OURS.schedule, 50, eta=1.0)
    dps = DPSSampler(as_azula(OURS), y, operator, zeta=rate, silent=True)
    x, places = torch.randn(1, *SHAPE), torch.tensor([t + 1 for t in sampler.visited]) / 1000
    draws = [x, *torch.randn(50, 1, *SHAPE)]
    noise = iter(draws)
    ours = sampler(OURS, lambda: next(noise), guidance)
    noise = iter(draws[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda _: next(noise))
        for t, s in pairwise(places):
            x = dps.step(x, t, s)
    torch.testing.assert_close(ours, x.detach(), rtol=0, atol=1e-5)
    assert operator(ours).item() == pytest.approx(0.9, abs=0.2) and abs(MEAN - 0.9) > 0.5


def test_images_do_not_depend_on_the_batch_that_a_gradient_sees():
    operator, y = AveragePool(2, SHAPE), torch.linspace(-1, 1, 3)[:, None, None, None]

    def drawn(which: list[int]) -> torch.Tensor:
        guidance = PosteriorGuidance(operator, y[which], schedule=ConstantStrength(0.5), stop=0.05, readout=VALUES)
        return Sampler(OURS.schedule, 20)(OURS, ImageNoise(which, SHAPE), guidance)

    together = drawn([0, 1, 2])
    torch.testing.assert_close(torch.cat([drawn([i]) for i in range(3)]), together, rtol=0, atol=1e-6)
    assert not together.requires_grad
