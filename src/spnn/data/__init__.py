"""Images with labels: sources, their cache, and the Lightning data module."""

from spnn.data.arrays import ArrayDataset, LabelledImages
from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.celeba import CelebA, CelebAMaskHQ
from spnn.data.class_folders import ClassFolders
from spnn.data.folder import ImageFolder
from spnn.data.mask_folder import MaskFolder
from spnn.data.module import ImageData
from spnn.data.scenes import Scenes
from spnn.data.sources import Digits, Source, SyntheticFaces
from spnn.data.voc import VOC

__all__ = [
    "CELEBA_ATTRIBUTES",
    "VOC",
    "ArrayDataset",
    "CelebA",
    "CelebAMaskHQ",
    "ClassFolders",
    "Digits",
    "ImageData",
    "ImageFolder",
    "LabelledImages",
    "MaskFolder",
    "Scenes",
    "Source",
    "SyntheticFaces",
]
