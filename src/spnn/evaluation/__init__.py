"""Evaluation: studies of a run, their tables and figures, and the report."""

from spnn.evaluation.run import evaluate

__all__ = ["evaluate"]
