"""Known surjections: linear degradations of images, and changes of coordinates to compose them with."""

from spnn.operators.camera import seen_through
from spnn.operators.coordinates import Gamma, Ripple
from spnn.operators.deepinv import DeepinvOperator
from spnn.operators.linear import AveragePool, Blur, Grayscale, Inpainting, LinearOperator, Matrix, gaussian_kernel
from spnn.operators.masks import inpainting

__all__ = [
    "AveragePool",
    "Blur",
    "DeepinvOperator",
    "Gamma",
    "Grayscale",
    "Inpainting",
    "LinearOperator",
    "Matrix",
    "Ripple",
    "gaussian_kernel",
    "inpainting",
    "seen_through",
]
