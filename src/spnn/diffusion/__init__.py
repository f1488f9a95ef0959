"""Diffusion: noise schedule, priors, guidance and the sampler."""

from spnn.diffusion.azula import AzulaPrior, as_azula
from spnn.diffusion.back_projection import BackProjection
from spnn.diffusion.denoiser import Denoised, Denoiser
from spnn.diffusion.gaussian import GaussianMixturePrior
from spnn.diffusion.gradient import GradientGuidance, PosteriorGuidance
from spnn.diffusion.guidance import Level, TargetGuidance
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.noisy import NoisyBackProjection
from spnn.diffusion.prior import UNetPrior
from spnn.diffusion.pseudoinverse import PseudoinverseGuidance
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.diffusion.schedule import NoiseSchedule
from spnn.diffusion.strength import (
    ConstantStrength,
    CosineStrength,
    LinearStrength,
    NoiseStrength,
    PiecewiseStrength,
    SignalStrength,
)
from spnn.diffusion.training_free import TrainingFreeGuidance, UniversalGuidance

__all__ = [
    "AzulaPrior",
    "BackProjection",
    "ConstantStrength",
    "CosineStrength",
    "Denoised",
    "Denoiser",
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
    "PseudoinverseGuidance",
    "Sampler",
    "SignalStrength",
    "TargetGuidance",
    "TrainingFreeGuidance",
    "UNetPrior",
    "UniversalGuidance",
    "as_azula",
]
