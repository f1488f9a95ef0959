"""Evaluation: agreement with the wanted attributes by several methods, its tables and figures."""

from spnn.evaluation.run import evaluate

__all__ = ["evaluate"]
