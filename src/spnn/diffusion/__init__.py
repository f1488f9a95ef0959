"""Diffusion: noise schedule, priors, guidance and the sampler."""

from spnn.diffusion.azula import AzulaPrior, as_azula
from spnn.diffusion.back_projection import BackProjection
from spnn.diffusion.denoiser import Denoised, Denoiser, Level
from spnn.diffusion.fibre import FibreSampling
from spnn.diffusion.gaussian import GaussianMixturePrior
from spnn.diffusion.gradient import GradientGuidance, PosteriorGuidance
from spnn.diffusion.guidance import TargetGuidance
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.noisy import NoisyBackProjection
from spnn.diffusion.prior import UNetPrior
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.diffusion.schedule import NoiseSchedule
from spnn.diffusion.strength import (
    ConstantStrength,
    CosineStrength,
    LinearStrength,
    NoiseStrength,
    PiecewiseStrength,
)

__all__ = [
    "AzulaPrior",
    "BackProjection",
    "ConstantStrength",
    "CosineStrength",
    "Denoised",
    "Denoiser",
    "FibreSampling",
    "GaussianMixturePrior",
    "GradientGuidance",
    "ImageNoise",
    "LatentPrior",
    "Level",
    "LinearStrength",
    "NoiseSchedule",
    "NoiseStrength",
    "NoisyBackProjection",
    "PiecewiseStrength",
    "PosteriorGuidance",
    "Sampler",
    "TargetGuidance",
    "UNetPrior",
    "as_azula",
]
