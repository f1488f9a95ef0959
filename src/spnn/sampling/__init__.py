"""Sampling: models, tasks, batches through Lightning, results."""

from spnn.sampling.run import sample

__all__ = ["sample"]
