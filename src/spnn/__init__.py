"""Pseudo-invertible neural networks and non-linear back-projection."""

from spnn.networks import SPNN
from spnn.surjection import Bijection, Completion, Composition, Surjection

__all__ = ["SPNN", "Bijection", "Completion", "Composition", "Surjection"]
