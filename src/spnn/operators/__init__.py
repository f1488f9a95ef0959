"""Known degradations of images, linear and non-linear, and changes of coordinates to compose them with."""

from spnn.operators.camera import seen_through
from spnn.operators.clipping import Clipping
from spnn.operators.coordinates import Gamma, Ripple
from spnn.operators.deepinv import DeepinvOperator
from spnn.operators.jpeg import JPEG
from spnn.operators.linear import AveragePool, Blur, Grayscale, Inpainting, LinearOperator, Matrix, gaussian_kernel
from spnn.operators.masks import inpainting
from spnn.operators.phase import PhaseRetrieval

__all__ = [
    "JPEG",
    "AveragePool",
    "Blur",
    "Clipping",
    "DeepinvOperator",
    "Gamma",
    "Grayscale",
    "Inpainting",
    "LinearOperator",
    "Matrix",
    "PhaseRetrieval",
    "Ripple",
    "gaussian_kernel",
    "inpainting",
    "seen_through",
]
