"""Latent priors: codes are drawn, images are guided."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, LDMPipeline, UNet2DModel, VQModel

from spnn import Session
from spnn.diffusion import (
    BackProjection,
    ConstantStrength,
    GaussianMixturePrior,
    ImageNoise,
    LatentPrior,
    NoiseSchedule,
    PosteriorGuidance,
    Sampler,
)
from spnn.errors import InputError
from spnn.operators import AveragePool
from spnn.readout import VALUES

SHAPE, CODES = (1, 8, 8), (4, 4, 4)


class Unshuffle(torch.nn.Module):
    """A codec that loses nothing."""

    def encode(self, x):
        return F.pixel_unshuffle(x, 2)

    def decode(self, z):
        return F.pixel_shuffle(z, 2)


class Lossy(Unshuffle):
    """One that loses much."""

    def decode(self, z):
        return 0.9 * super().decode(z).tanh()


def exact(codec=Unshuffle) -> LatentPrior:
    return LatentPrior(GaussianMixturePrior.isotropic(torch.zeros(1, *CODES), deviation=0.5), codec(), SHAPE)


def test_with_an_exact_codec_it_draws_what_a_prior_of_images_does():
    latent, pixels = exact(), GaussianMixturePrior.isotropic(torch.zeros(1, *SHAPE), deviation=0.5)
    y, image = torch.linspace(-0.8, 0.8, 16).reshape(1, 1, 4, 4), torch.rand(1, *SHAPE)
    guidance = BackProjection(AveragePool(2, SHAPE), y, schedule=ConstantStrength(), readout=VALUES)
    for start in (None, 300):
        sampler, given = Sampler(latent.schedule, 20, start=start), None if start is None else image
        codes, noise = sampler(latent, ImageNoise([3], CODES), guidance, given), ImageNoise([3], CODES)
        expected = sampler(pixels, lambda noise=noise: latent.decode(noise()), guidance, given)
        torch.testing.assert_close(latent.decode(codes), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(AveragePool(2, SHAPE)(expected), y, rtol=0, atol=1e-5)


def test_codes_are_not_clipped():
    wide = LatentPrior(GaussianMixturePrior.isotropic(torch.zeros(1, *CODES), deviation=3.0), Unshuffle(), SHAPE)
    codes = Sampler(wide.schedule, 50, clip=True)(wide, ImageNoise(range(20), CODES))
    assert codes.std() > 2


def test_what_a_codec_loses_is_not_lost_again_at_each_step():
    latent, z = exact(Lossy), torch.randn(2, *CODES)
    kept = latent.on_images(lambda x, t: x)(z, 5)
    brighter = latent.on_images(lambda x, t: x + 0.1)(z, 5)
    assert kept is z
    torch.testing.assert_close(brighter - z, torch.full_like(z, 0.1))


def test_a_session_draws_images_of_a_latent_prior():
    session = Session(exact(), AveragePool(2, SHAPE))
    y = 0.3 * torch.randn(3, 1, 4, 4)
    solved = session.solve(
        y, steps=20, guidance="ddnm", values={"guidance.clip": False, "trainer.precision": "32-true"}
    )
    assert solved.images.shape == (3, *SHAPE)
    torch.testing.assert_close(solved.outputs, y, rtol=0, atol=1e-4)
    guidance = PosteriorGuidance(AveragePool(2, SHAPE), y, schedule=ConstantStrength(), readout=VALUES)
    with pytest.raises(InputError, match="a latent prior gives neither"):
        Sampler(exact().schedule, 3)(exact(), ImageNoise(range(3), CODES), guidance)


@pytest.fixture
def pipeline(tmp_path):
    torch.manual_seed(0)
    blocks = {"norm_num_groups": 4, "block_out_channels": (8, 8)}
    down, up = ("DownBlock2D", "DownBlock2D"), ("UpBlock2D", "UpBlock2D")
    unet = UNet2DModel(sample_size=4, in_channels=3, out_channels=3, down_block_types=down, up_block_types=up, **blocks)
    encoders = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vqvae = VQModel(latent_channels=3, num_vq_embeddings=16, scaling_factor=0.5, **encoders, **blocks)
    schedule = DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear")
    LDMPipeline(vqvae, unet, schedule).save_pretrained(tmp_path / "ldm")
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    return unet.eval(), vqvae.eval(), schedule


@torch.no_grad()
def test_a_pipeline_of_diffusers_computes_what_it_did(pipeline, tmp_path):
    unet, vqvae, scheduler = pipeline
    prior = LatentPrior.from_pretrained(tmp_path / "ldm", image_shape=(3, 8, 8))
    x, z, t = torch.rand(2, 3, 8, 8), torch.randn(2, 3, 4, 4), torch.tensor([3, 700])
    assert prior.noise_shape == (3, 4, 4) and prior.pretrained
    torch.testing.assert_close(prior(z, t).noise, unet(z, t).sample, rtol=0, atol=1e-6)
    torch.testing.assert_close(prior.schedule.alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=1e-5, atol=0)
    torch.testing.assert_close(prior.encode(x), 0.5 * vqvae.encode(x).latents)
    torch.testing.assert_close(prior.decode(z), vqvae.decode(z / 0.5).sample)
    session = Session(prior)
    assert session.unconditional(2, steps=3).images.shape == (2, 3, 8, 8)


def test_pipelines_that_do_not_fit_are_refused(pipeline, tmp_path):
    for folder, shape, message in (
        ("ldm", (3, 16, 16), r"draws images of shape \(3, 8, 8\), but \(3, 16, 16\) are needed"),
        ("ddpm", None, "has no autoencoder"),
        ("missing", None, "missing"),
    ):
        with pytest.raises(InputError, match=message):
            LatentPrior.from_pretrained(tmp_path / folder, image_shape=shape)
    with pytest.raises(InputError, match="betas are one of linear, scaled_linear"):
        NoiseSchedule(betas="cosine")
