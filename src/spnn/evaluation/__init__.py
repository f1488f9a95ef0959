"""Evaluation: studies of a run, with tables, figures and a report."""

from spnn.evaluation.run import evaluate

__all__ = ["evaluate"]
