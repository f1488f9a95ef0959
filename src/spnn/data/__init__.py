"""Images with binary attributes: sources, their cache, and the Lightning data module."""

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.module import AttributeData
from spnn.data.sources import Digits, Source, SyntheticFaces

__all__ = ["CELEBA_ATTRIBUTES", "AttributeData", "Digits", "Source", "SyntheticFaces"]
