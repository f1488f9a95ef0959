"""Sampling from a trained run: targets of each task, batches, pictures."""

from spnn.sampling.generate import generate
from spnn.sampling.run import sample

__all__ = ["generate", "sample"]
