"""Images with binary attributes: sources, their cache, and the Lightning data module."""

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.celeba import CelebA, CelebAMaskHQ
from spnn.data.folder import ImageFolder
from spnn.data.module import AttributeData
from spnn.data.sources import Digits, Source, SyntheticFaces

__all__ = [
    "CELEBA_ATTRIBUTES",
    "AttributeData",
    "CelebA",
    "CelebAMaskHQ",
    "Digits",
    "ImageFolder",
    "Source",
    "SyntheticFaces",
]
