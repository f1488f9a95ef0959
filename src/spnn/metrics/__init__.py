"""Metrics: of attributes, pseudo-inverses, trajectories, sets of samples, wholeness, restorations."""

from spnn.metrics.agreement import AttributeAgreement, attribute_metrics
from spnn.metrics.bootstrap import mean_interval, ratio_interval
from spnn.metrics.diversity import Diversity
from spnn.metrics.pseudo_inverse import NaturalNorm, PenroseErrors
from spnn.metrics.realism import inception_distances, judge_distances
from spnn.metrics.samples import agreement_with, measurement_metrics, pixel_metrics
from spnn.metrics.trajectory import ConstraintViolation
from spnn.metrics.wholeness import Fault, faults, fine_energy, saturated, verdict

__all__ = [
    "AttributeAgreement",
    "ConstraintViolation",
    "Diversity",
    "Fault",
    "NaturalNorm",
    "PenroseErrors",
    "agreement_with",
    "attribute_metrics",
    "faults",
    "fine_energy",
    "inception_distances",
    "judge_distances",
    "mean_interval",
    "measurement_metrics",
    "pixel_metrics",
    "ratio_interval",
    "saturated",
    "verdict",
]
