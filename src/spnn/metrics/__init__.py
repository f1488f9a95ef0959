"""Metrics: of attributes, edits, pseudo-inverses, trajectories, sets of samples, restorations."""

from spnn.metrics.agreement import AttributeAgreement, attribute_metrics
from spnn.metrics.bootstrap import mean_interval
from spnn.metrics.diversity import Diversity
from spnn.metrics.edits import EditEffects
from spnn.metrics.pseudo_inverse import NaturalNorm, PenroseErrors
from spnn.metrics.realism import inception_distances, judge_distances
from spnn.metrics.samples import agreement_with, measurement_metrics, pixel_metrics
from spnn.metrics.trajectory import ConstraintViolation

__all__ = [
    "AttributeAgreement",
    "ConstraintViolation",
    "Diversity",
    "EditEffects",
    "NaturalNorm",
    "PenroseErrors",
    "agreement_with",
    "attribute_metrics",
    "inception_distances",
    "judge_distances",
    "mean_interval",
    "measurement_metrics",
    "pixel_metrics",
]
