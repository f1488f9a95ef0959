"""A prior and a guidance as deepinv's model."""

import pytest
import torch

from spnn import Session
from spnn.errors import InputError
from spnn.reconstructor import as_deepinv

deepinv = pytest.importorskip("deepinv")


@pytest.fixture(scope="module")
def prior() -> torch.nn.Module:
    return Session.load("digits").models.prior


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return (Session.load("digits").held_out(6)[0] + 1) / 2


def test_measurements_without_noise_are_met(prior, images):
    physics = deepinv.physics.Inpainting((1, 8, 8), mask=0.5, rng=torch.Generator().manual_seed(0))
    y = physics(images)
    found = as_deepinv(prior, steps=10, values={"guidance.clip": False, "sampler.clip": False})(y, physics)
    assert found.shape == images.shape
    torch.testing.assert_close(physics.A(found), y, atol=1e-4, rtol=0)
    assert (found - images).abs().mean() < (physics.A_dagger(y) - images).abs().mean()


def test_noise_is_taken_into_account(prior, images):
    noise = deepinv.physics.GaussianNoise(0.2, rng=torch.Generator().manual_seed(0))
    physics = deepinv.physics.Denoising(noise)
    y = physics(images)
    found = as_deepinv(prior, steps=50)(y, physics)
    assert (found - images).square().mean() < 0.5 * (y - images).square().mean()


def test_deepinv_s_own_test_takes_it(prior, images):
    physics = deepinv.physics.Downsampling((1, 8, 8), factor=2, filter="bilinear")
    model = as_deepinv(prior, steps=5)
    pairs = torch.utils.data.TensorDataset(images, physics(images))
    found = deepinv.test(
        model,
        torch.utils.data.DataLoader(pairs, 3),
        physics,
        metrics=[deepinv.metric.PSNR()],
        device="cpu",
        verbose=False,
    )
    assert found["PSNR"] > found["PSNR no learning"]


def test_a_physics_that_is_not_linear_is_refused(prior, images):
    with pytest.raises(InputError, match="expected a linear physics of deepinv, got Physics"):
        as_deepinv(prior)(images, deepinv.physics.Physics())
