"""Images with labels: sources, their cache, and the Lightning data module."""

from spnn.data.arrays import ArrayDataset
from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.celeba import CelebA, CelebAMaskHQ
from spnn.data.class_folders import ClassFolders
from spnn.data.folder import ImageFolder
from spnn.data.mask_folder import MaskFolder
from spnn.data.module import ImageData
from spnn.data.sources import Digits, Source, SyntheticFaces

__all__ = [
    "CELEBA_ATTRIBUTES",
    "ArrayDataset",
    "CelebA",
    "CelebAMaskHQ",
    "ClassFolders",
    "Digits",
    "ImageData",
    "ImageFolder",
    "MaskFolder",
    "Source",
    "SyntheticFaces",
]
