"""Diffusion: noise schedule, priors, guidance and the sampler."""

from spnn.diffusion.gaussian import GaussianMixturePrior
from spnn.diffusion.guidance import BackProjection, GradientGuidance, TargetGuidance
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
    "BackProjection",
    "ConstantStrength",
    "CosineStrength",
    "GaussianMixturePrior",
    "GradientGuidance",
    "ImageNoise",
    "LinearStrength",
    "NoiseSchedule",
    "NoiseStrength",
    "PiecewiseStrength",
    "Sampler",
    "TargetGuidance",
    "UNetPrior",
]
