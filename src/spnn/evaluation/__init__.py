"""Evaluation: agreement with the wanted attributes, its tables and figures."""

from spnn.evaluation.agreement import attribute_metrics
from spnn.evaluation.run import evaluate

__all__ = ["attribute_metrics", "evaluate"]
