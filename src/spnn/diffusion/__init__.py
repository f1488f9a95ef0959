"""Diffusion: noise schedule, priors, guidance and the sampler."""

from spnn.diffusion.annealing import DecoupledAnnealing
from spnn.diffusion.azula import AzulaPrior, as_azula
from spnn.diffusion.back_projection import BackProjection
from spnn.diffusion.classifier import ClassifierGuidance
from spnn.diffusion.denoiser import Denoised, Denoiser, ImagePrior, Level
from spnn.diffusion.edm import EDMPrior
from spnn.diffusion.fibre import FibreSampling
from spnn.diffusion.gaussian import GaussianMixturePrior
from spnn.diffusion.gradient import GradientGuidance, PosteriorGuidance
from spnn.diffusion.guidance import TargetGuidance
from spnn.diffusion.latent import LatentPrior
from spnn.diffusion.noisy import NoisyBackProjection
from spnn.diffusion.prior import UNetPrior
from spnn.diffusion.pseudoinverse import PseudoinverseGuidance
from spnn.diffusion.red_diff import RedDiff
from spnn.diffusion.resample import HardConsistency
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
    "ClassifierGuidance",
    "ConstantStrength",
    "CosineStrength",
    "DecoupledAnnealing",
    "Denoised",
    "Denoiser",
    "EDMPrior",
    "FibreSampling",
    "GaussianMixturePrior",
    "GradientGuidance",
    "HardConsistency",
    "ImageNoise",
    "ImagePrior",
    "LatentPrior",
    "Level",
    "LinearStrength",
    "NoiseSchedule",
    "NoiseStrength",
    "NoisyBackProjection",
    "PiecewiseStrength",
    "PosteriorGuidance",
    "PseudoinverseGuidance",
    "RedDiff",
    "Sampler",
    "SignalStrength",
    "TargetGuidance",
    "TrainingFreeGuidance",
    "UNetPrior",
    "UniversalGuidance",
    "as_azula",
]
