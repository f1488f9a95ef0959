"""Diffusion: noise schedule, priors, guidance and the sampler."""

from spnn.diffusion.guidance import BackProjection, PiecewiseStrength
from spnn.diffusion.prior import UNetPrior
from spnn.diffusion.sampler import ImageNoise, Sampler
from spnn.diffusion.schedule import NoiseSchedule

__all__ = ["BackProjection", "ImageNoise", "NoiseSchedule", "PiecewiseStrength", "Sampler", "UNetPrior"]
