"""Priors: read from others' files, and in closed form."""

import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from commands import REPOSITORY
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from spnn.data import Digits
from spnn.diffusion import (
    BackProjection,
    ConstantStrength,
    GaussianMixturePrior,
    ImageNoise,
    NoiseSchedule,
    UNetPrior,
    gaussian,
)
from spnn.diffusion.sampler import Sampler
from spnn.errors import InputError
from spnn.operators import Matrix
from spnn.readout import VALUES

SCHEDULE = NoiseSchedule()


@pytest.fixture(scope="module")
def unet() -> dict:
    """A small UNet of the DDIM code base, and what it computes."""
    return torch.load(REPOSITORY / "tests/data/unet_reference.pt", weights_only=True)


@pytest.mark.parametrize("form", ["state dict", "file", "training state", "module."])
def test_a_checkpoint_of_the_ddim_code_computes_what_it_did(unet, form, tmp_path):
    state = unet["state_dict"]
    source = {f"module.{name}": tensor for name, tensor in state.items()} if form == "module." else state
    if form in ("file", "training state"):
        torch.save(state if form == "file" else [state, {"optimizer": 1}, 5], tmp_path / "celeba_hq.ckpt")
        source = tmp_path / "celeba_hq.ckpt"
    prior = UNetPrior.from_ddim_checkpoint(source, image_size=16)
    assert prior.image_shape == (3, 16, 16) and prior.pretrained and not prior.training
    with torch.no_grad():
        torch.testing.assert_close(prior(unet["x"], unet["t"]).noise, unet["eps"], rtol=0, atol=1e-4)


def test_checkpoints_that_are_none_are_refused(unet, tmp_path):
    def refused(message: str, source, **options) -> None:
        with pytest.raises(InputError, match=message):
            UNetPrior.from_ddim_checkpoint(source, **{"image_size": 16, **options})

    state = unet["state_dict"]
    refused("give the checkpoint's file", None)
    refused("can't load", tmp_path / "missing.ckpt")
    (tmp_path / "page.ckpt").write_text("<html>quota exceeded</html>")
    refused("can't load", tmp_path / "page.ckpt")
    refused("not a UNet of the DDIM code base", {"conv1.weight": torch.zeros(1)})
    refused("holds no state dict", {"epoch": 3})
    refused("Missing key", {name: tensor for name, tensor in state.items() if "mid" not in name})
    refused("image_size", state, image_size=None)
    refused(r"draws images of shape \(3, 16, 16\), but \(3, 32, 32\)", state, image_shape=(3, 32, 32))


def pipeline(folder, **scheduler) -> UNet2DModel:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler(**scheduler)).save_pretrained(folder)
    return unet.eval()


def test_a_pipeline_of_diffusers_computes_what_it_did(tmp_path):
    unet = pipeline(tmp_path / "prior", beta_end=0.03)
    prior = UNetPrior.from_pretrained(tmp_path / "prior", image_shape=(3, 8, 8))
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 700])
    with torch.no_grad():
        torch.testing.assert_close(prior(x, t).noise, unet(x, t).sample, rtol=0, atol=1e-6)
    assert prior.schedule.alpha_bar(999) == pytest.approx(NoiseSchedule(beta_end=0.03).alpha_bar(999))
    assert prior.pretrained and prior.image_shape == (3, 8, 8)


def test_pipelines_that_do_not_fit_are_refused(tmp_path):
    pipeline(tmp_path / "cosine", beta_schedule="squaredcos_cap_v2")
    with pytest.raises(InputError, match="has the noise schedule 'squaredcos_cap_v2', not one of"):
        UNetPrior.from_pretrained(tmp_path / "cosine")
    pipeline(tmp_path / "linear")
    with pytest.raises(InputError, match=r"shape \(3, 8, 8\), but \(3, 32, 32\) are needed"):
        UNetPrior.from_pretrained(tmp_path / "linear", image_shape=(3, 32, 32))
    config = tmp_path / "linear/unet/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"block_out_channels": [8, 16]}))
    with pytest.raises(InputError, match="can't load"):
        UNetPrior.from_pretrained(tmp_path / "linear")
    with pytest.raises(InputError, match="can't load"):
        UNetPrior.from_pretrained(tmp_path / "missing")


class Mixture(GaussianMixturePrior):
    """With moments and posteriors, which samples are held against."""

    @classmethod
    def from_covariances(
        cls, weights: torch.Tensor, means: torch.Tensor, covariances: torch.Tensor, **options
    ) -> "Mixture":
        """Any covariances, [K, D, D]; zero variances are allowed. Arguments else as the class's."""
        variances, axes = torch.linalg.eigh(covariances)
        return cls(weights, means, axes, variances.clamp(min=0), covariances.new_zeros(len(means)), **options)

    def mean_and_covariance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean [D] and the covariance [D, D] of the whole mixture."""
        mean = self.weights @ self.means
        offset = self.means - mean
        return mean, torch.einsum("k,kij->ij", self.weights, self.covariances() + offset[:, :, None] * offset[:, None])

    def covariances(self) -> torch.Tensor:
        """The covariance of each component, [K, D, D]."""
        identity = torch.eye(self.means.shape[1]).to(self.means)
        scaled = self.axes * (self.variances - self.rest[:, None])[:, None]
        return scaled @ self.axes.mT + self.rest[:, None, None] * identity

    def posterior(self, matrix: torch.Tensor, y: torch.Tensor) -> "Mixture":
        r"""Return the distribution of :math:`x_0` given :math:`A x_0 = y`, a mixture again.

        Arguments:
            matrix: A, [M, D], of full row rank.
            y: [M].
        """
        covariances = self.covariances().double()
        matrix, y = matrix.double(), y.double()
        spread = matrix @ covariances @ matrix.T  # [K, M, M], of A x
        gain = torch.linalg.solve(spread, matrix @ covariances).mT  # [K, D, M]
        error = y - self.means.double() @ matrix.T  # [K, M]
        means = self.means.double() + torch.einsum("kdm,km->kd", gain, error)
        remaining = covariances - gain @ matrix @ covariances
        fit = torch.einsum("km,km->k", error, torch.linalg.solve(spread, error)) + torch.linalg.slogdet(spread)[1]
        return type(self).from_covariances(
            (self.weights.double().log() - fit / 2).softmax(0).to(self.weights),
            means.unflatten(1, self.image_shape).to(self.means),
            ((remaining + remaining.mT) / 2).to(self.means),
            schedule=self.schedule,
        )


def mixture(count: int = 3, size: int = 2, dtype=torch.float32) -> Mixture:
    """Components of different sizes, places and shapes, with correlated pixels."""
    generator = torch.Generator().manual_seed(0)
    dimension = size**2
    factors = 0.3 * torch.randn(count, dimension, dimension, generator=generator, dtype=dtype)
    means = torch.randn(count, 1, size, size, generator=generator, dtype=dtype)
    weights = torch.rand(count, generator=generator, dtype=dtype) + 0.2
    noise = 0.02 * torch.eye(dimension, dtype=dtype)
    return Mixture.from_covariances(weights / weights.sum(), means, factors @ factors.mT + noise)


def test_the_mixtures_denoiser_is_the_gradient_of_its_log_density():
    prior = mixture(dtype=torch.float64)
    x = torch.randn(5, 1, 2, 2, dtype=torch.float64).requires_grad_()
    t = torch.tensor([0, 100, 400, 700, 999])
    a, sigma = prior.schedule.signal_and_noise(t, x.detach())
    log_density = []
    for i in range(5):
        scale = a[i].item() ** 2 * prior.covariances() + sigma[i].item() ** 2 * torch.eye(4, dtype=torch.float64)
        components = torch.distributions.MultivariateNormal(a[i].item() * prior.means, scale)
        log_density.append((prior.weights.log() + components.log_prob(x[i].flatten())).logsumexp(0))
    (score,) = torch.autograd.grad(sum(log_density), x)
    torch.testing.assert_close(prior(x.detach(), t).noise, -sigma * score, rtol=1e-5, atol=1e-6)


def test_axes_and_a_rest_are_the_covariance_that_they_say():
    axes = torch.linalg.qr(torch.randn(2, 16, 3))[0]
    variances, rest = torch.rand(2, 3) + 0.5, torch.tensor([0.1, 0.2])
    means = torch.randn(2, 1, 4, 4)
    short = Mixture(torch.tensor([0.3, 0.7]), means, axes, variances, rest)
    full = Mixture.from_covariances(torch.tensor([0.3, 0.7]), means, short.covariances())
    x, t = torch.randn(4, 1, 4, 4), torch.tensor([5, 200, 600, 999])
    torch.testing.assert_close(short(x, t), full(x, t), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="must have the shapes"):
        GaussianMixturePrior(torch.ones(3), means, axes, variances, rest)


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.flatten(1).double()
    return x.mean(0), x.T.cov()


def test_free_samples_of_a_mixture_have_its_mean_and_covariance():
    prior = mixture()
    samples = Sampler(SCHEDULE, 250, eta=1.0)(prior, lambda: torch.randn(4000, 1, 2, 2))
    mean, covariance = moments(samples)
    expected_mean, expected_covariance = prior.mean_and_covariance()
    torch.testing.assert_close(mean.float(), expected_mean, rtol=0, atol=0.06)
    torch.testing.assert_close(covariance.float(), expected_covariance, rtol=0, atol=0.08)


def gaussian_and_operator(correlated: bool) -> tuple[Mixture, Matrix]:
    """A Gaussian, whose part in the range of the operator may tell of the part in its null space, or not."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(9, 9, generator=generator))[0]
    rows, null = basis[:, :4], basis[:, 4:]
    spread = torch.cat([rows * 0.6, null @ torch.randn(5, 5, generator=generator) * 0.4], dim=1)
    if correlated:
        spread = spread + 0.5 * null[:, :4] @ torch.randn(4, 9, generator=generator)
    mean = 0.5 * torch.randn(1, 1, 3, 3, generator=generator)
    prior = Mixture.from_covariances(torch.ones(1), mean, (spread @ spread.T)[None])
    return prior, Matrix(torch.randn(4, 4, generator=generator) @ rows.T, (1, 3, 3))


@pytest.mark.parametrize("correlated", [False, True], ids=["independent", "correlated"])
@pytest.mark.parametrize("eta", [None, 1.0], ids=["published variance", "ddim"])
def test_back_projected_samples_of_a_gaussian_are_those_of_its_posterior(eta, correlated):
    prior, operator = gaussian_and_operator(correlated)
    y = operator(prior.means.unflatten(1, (1, 3, 3))) + 0.3
    guidance = BackProjection(operator, y.expand(3000, -1), schedule=ConstantStrength(1.0), readout=VALUES)
    samples = Sampler(SCHEDULE, 1000, eta=eta)(prior, lambda: torch.randn(3000, 1, 3, 3), guidance)
    torch.testing.assert_close(operator(samples), y.expand(3000, -1), rtol=0, atol=1e-4)
    mean, covariance = moments(samples)
    expected_mean, expected_covariance = prior.posterior(operator.matrix.values, y[0]).mean_and_covariance()
    assert (expected_mean - prior.means[0]).abs().max() > 0.2  # y tells something
    torch.testing.assert_close(mean.float(), expected_mean, rtol=0, atol=0.12)
    largest = expected_covariance.abs().max().item()
    torch.testing.assert_close(covariance.float(), expected_covariance, rtol=0, atol=0.12 * largest)


def test_the_error_of_the_posteriors_mean_vanishes_as_steps_become_many():
    prior, operator = gaussian_and_operator(correlated=True)
    y = operator(prior.means.unflatten(1, (1, 3, 3))) + 0.3
    expected, _ = prior.posterior(operator.matrix.values, y[0]).mean_and_covariance()

    def error(steps):  # all is linear: without noise, sampling gives the mean of what it gives with noise
        guidance = BackProjection(operator, y, schedule=ConstantStrength(1.0), readout=VALUES)
        sampler = Sampler(SCHEDULE, steps, eta=1.0)
        return (sampler(prior, lambda: torch.zeros(1, 1, 3, 3), guidance).flatten() - expected).abs().max()

    errors = [error(steps) for steps in (125, 250, 500, 1000)]
    assert all(finer < 0.7 * coarser for coarser, finer in itertools.pairwise(errors))


def test_the_posterior_of_a_mixture_is_bayes_rule():
    prior = mixture(dtype=torch.float64)
    matrix, y = torch.tensor([[1.0, 0.5, 0, -0.3]], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    posterior = prior.posterior(matrix, y)
    _, _, vt = torch.linalg.svd(matrix)
    null = vt[1:].T
    on_plane = (torch.linalg.pinv(matrix) @ y)[None] + torch.randn(6, 3, dtype=torch.float64) @ null.T

    def log_density(mixture, x, directions):  # along the plane, where both are densities up to a constant
        means, covariances = mixture.means @ directions, directions.T @ mixture.covariances() @ directions
        components = torch.distributions.MultivariateNormal(means, covariances)
        return (mixture.weights.log() + components.log_prob((x @ directions)[:, None])).logsumexp(1)

    difference = log_density(prior, on_plane, torch.eye(4, dtype=torch.float64)) - log_density(
        posterior, on_plane, null
    )
    torch.testing.assert_close(difference, difference[:1].expand(6), rtol=0, atol=1e-6)


def test_a_mixture_fitted_to_images_draws_such_images():
    source = Digits()
    prior = GaussianMixturePrior.fit(source, components=20, rank=10)
    train = torch.stack([item["image"] for item in map(source.split("train").__getitem__, range(1437))])
    train = train.flatten(1) / 127.5 - 1
    samples = Sampler(SCHEDULE, 50, clip=True)(prior, ImageNoise(range(50), prior.image_shape)).flatten(1)

    def distance(x, others):
        return torch.cdist(x, others).sort(1).values[:, 1]  # the nearest but itself

    assert (
        distance(torch.cat([samples, train[:1000]]), train[:1000])[:50].median() < 2 * distance(train, train).median()
    )
    torch.testing.assert_close(samples.mean(0), train.mean(0), rtol=0, atol=0.35)


def test_a_small_cluster_takes_no_axes_from_the_others():
    """Two images beside two hundred: they were one component of rank 1, and so were all."""
    spread = torch.zeros(200, 64)
    spread[:, :4] = 20 * torch.randn(200, 4)
    pixels = torch.cat([(128 + spread).clamp(0, 255), torch.tensor([[3.0], [5.0]]).expand(-1, 64)])
    items = [{"image": row.reshape(1, 8, 8).byte()} for row in pixels]
    source = SimpleNamespace(split=lambda name: items, image_shape=(1, 8, 8))
    prior = GaussianMixturePrior.fit(source, components=2, rank=8)
    large, small = prior.weights.argmax(), prior.weights.argmin()
    assert prior.weights[small] == pytest.approx(2 / 202)
    assert (prior.variances[large, :4] > 50 * prior.rest[large]).all()  # the four directions that there are
    assert (prior.axes[small] == 0).all() and prior.rest[small] > 0
    drawn = Sampler(prior.schedule, 50)(prior, ImageNoise(range(64), (1, 8, 8)))
    assert drawn.isfinite().all()


@pytest.mark.parametrize("count, shape", [(30, (3, 8, 8)), (200, (1, 4, 4))], ids=["more pixels", "more images"])
def test_principal_axes_in_windows_are_those_of_the_whole(count, shape, monkeypatch):
    monkeypatch.setattr(gaussian, "_NUMBERS", 7 * count)
    pixels = torch.randint(0, 256, (count, math.prod(shape)), dtype=torch.uint8)
    mean, axes, variances, total = gaussian._principal(pixels, 5)
    x = pixels.double() / 127.5 - 1
    covariance = torch.cov(x.T, correction=0)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(axes.T @ axes, torch.eye(5).double())
    torch.testing.assert_close(covariance @ axes, axes * variances)
    torch.testing.assert_close(variances, torch.linalg.eigvalsh(covariance).flip(0)[:5])
    torch.testing.assert_close(total, covariance.trace())
    _, none, _, _ = gaussian._principal(pixels[:1].expand(count, -1), 5)  # all the same
    assert none.isfinite().all()
