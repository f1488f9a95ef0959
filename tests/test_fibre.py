"""Sampling on the fibre: exact by construction, and right in distribution. The law of images given ``g(x) = y`` is that
of the prior's images whose ``g(x)`` is nearly ``y``."""

import pytest
import torch

from spnn import Bijection, Composition
from spnn.diffusion import BackProjection, ConstantStrength, FibreSampling, GaussianMixturePrior, ImageNoise, Sampler
from spnn.errors import InputError
from spnn.latents import with_pinv
from spnn.networks import SurjectiveCoupling
from spnn.operators import Matrix

DEVIATION = 0.4
SAMPLES = 1000
CENTRES = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])


class Bend(Bijection):
    """A change of coordinates that stretches volumes."""

    def forward(self, x):
        return torch.asinh(2 * x)

    def inverse(self, y):
        return torch.sinh(y) / 2

    def inverse_with_log_det(self, y):
        return self.inverse(y), torch.cosh(y).log().flatten(1).sum(1)


def coupling() -> SurjectiveCoupling:
    torch.manual_seed(3)
    layers = {"st": "conv1 16, conv1", "r": "conv1 8, conv1"}
    block = SurjectiveCoupling(2, 1, **layers, scale_bound=1.0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return Composition(block, Matrix(torch.eye(1), (1, 1, 1))).requires_grad_(False)


SURJECTIONS = {
    "linear": (lambda: Matrix(torch.tensor([[1.0, 0.0]]), (2, 1, 1)), 0.2),
    "bent": (lambda: Composition(Bend(), Matrix(torch.tensor([[1.0, 0.2]]), (2, 1, 1))), 0.5),
    "coupling": (coupling, 0.4),
}


def sampled(surjection, y: float, guidance=FibreSampling, count: int = SAMPLES, **options) -> torch.Tensor:
    """Samples [N, 2]."""
    prior = GaussianMixturePrior.isotropic(CENTRES.reshape(2, 2, 1, 1), DEVIATION)
    made = guidance(surjection, torch.full((count, 1), y), schedule=ConstantStrength(), **options)
    return Sampler(prior.schedule, 25)(prior, ImageNoise(range(count), (2, 1, 1)), made).flatten(1)


def kept(surjection, y: float) -> torch.Tensor:
    """Of images of the prior, those of nearly that output, [N, 2]."""
    generator = torch.Generator().manual_seed(0)
    component = torch.randint(2, (4_000_000,), generator=generator)
    x = CENTRES[component] + DEVIATION * torch.randn(len(component), 2, generator=generator)
    seen = torch.cat([surjection(some[:, :, None, None]).flatten() for some in x.split(500_000)])
    return x[(seen - y).abs() < 0.02]


@pytest.mark.parametrize("kind", SURJECTIONS)
def test_samples_have_the_law_of_the_priors_images_of_that_output(kind):
    make, y = SURJECTIONS[kind]
    surjection = make()
    expected, found = kept(surjection, y), sampled(surjection, y)
    assert len(expected) > 3000
    assert (surjection(found[:, :, None, None]).flatten() - y).abs().max() <= 1e-4
    for of in (lambda x: (x[:, 1] > 0).float(), lambda x: x[:, 0], lambda x: x[:, 1], lambda x: x[:, 1].square()):
        error = of(expected).std() / SAMPLES**0.5
        assert (of(found).mean() - of(expected).mean()).abs() < 3.5 * error + 0.01


def test_the_share_of_a_component_is_that_of_bayes_rule_which_back_projection_misses():
    surjection = SURJECTIONS["linear"][0]()
    bayes = torch.sigmoid(torch.tensor(2 * 0.2 / DEVIATION**2)).item()
    assert bayes == pytest.approx(0.924, abs=1e-3)
    share = (sampled(surjection, 0.2)[:, 1] > 0).float().mean().item()
    assert 0.90 <= share <= 0.94
    assert (sampled(surjection, 0.2, BackProjection)[:, 1] > 0).float().mean() < 0.8


def test_no_step_of_the_chain_leaves_the_fibre():
    surjection = coupling()
    seen = []

    class Watched(FibreSampling):
        def _slope(self, point, denoise):
            seen.append(surjection(surjection.invert(point[0], point[1:])))
            return super()._slope(point, denoise)

    sampled(surjection, 0.4, Watched, count=5, levels=3, moves=4)
    assert len(seen) == 3 * (1 + 2 * 4)
    assert (torch.stack(seen) - 0.4).abs().max() <= 1e-4


@pytest.mark.parametrize("pinv", ["trained", "closed_form"])
def test_a_sample_does_not_depend_on_its_batch(pinv):
    surjection = with_pinv(coupling(), pinv)
    torch.testing.assert_close(
        sampled(surjection, 0.4, count=3), sampled(surjection, 0.4, count=6)[:3], atol=1e-4, rtol=0
    )


def test_free_coordinates_move_with_the_latents():
    """Of two outputs one is free: the law is that of the other one alone."""
    surjection = Matrix(torch.eye(2), (2, 1, 1))
    prior = GaussianMixturePrior.isotropic(CENTRES.reshape(2, 2, 1, 1), DEVIATION)
    target, free = torch.tensor([[0.2, 0.0]]).expand(SAMPLES, 2), torch.tensor([[False, True]]).expand(SAMPLES, 2)
    made = FibreSampling(surjection, target, schedule=ConstantStrength(), free=free)
    found = Sampler(prior.schedule, 25)(prior, ImageNoise(range(SAMPLES), (2, 1, 1)), made).flatten(1)
    assert (found[:, 0] - 0.2).abs().max() < 1e-5
    assert 0.89 < (found[:, 1] > 0).float().mean() < 0.95


def test_what_a_chain_cannot_do_is_refused():
    surjection, y = SURJECTIONS["linear"][0](), torch.zeros(1, 1)
    for options in ({"noisiest": 4}, {"levels": 0}, {"moves": -1}, {"noisiest": 1000}):
        with pytest.raises(InputError, match="a chain on the fibre needs 0 <= cleanest <= noisiest <= 999"):
            FibreSampling(surjection, y, schedule=ConstantStrength(), **options)

    with pytest.raises(InputError, match=r"needs guidance\.rule=nlbp, got 'naive'"):
        FibreSampling(surjection, y, schedule=ConstantStrength(), rule="naive")

    class Silent(Bijection):
        forward = inverse = staticmethod(lambda x: x)

    with pytest.raises(InputError, match="Silent doesn't say how it stretches volumes"):
        sampled(Composition(Silent(), surjection), 0.2, count=2)
    Silent.inverse_with_log_det = lambda self, y: (y, torch.zeros_like(y))
    with pytest.raises(InputError, match=r"Silent.* must give one log-determinant for each image, \[2\], got \[2, 2"):
        sampled(Composition(Silent(), surjection), 0.2, count=2)
