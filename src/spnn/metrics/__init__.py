"""Metrics for agreement, pseudo-inverses, trajectories, sets of samples, wholeness and restorations."""

from spnn.metrics.agreement import agreement, agreement_intervals
from spnn.metrics.bootstrap import mean_interval, ratio_interval
from spnn.metrics.pseudo_inverse import natural_norm, penrose_errors
from spnn.metrics.realism import inception_distances, judge_distances
from spnn.metrics.samples import (
    agreement_with,
    constraint_violation,
    diversity,
    measurement_metrics,
    pixel_metrics,
    psnr,
)
from spnn.metrics.wholeness import Fault, faults, fine_energy, saturated, verdict

__all__ = [
    "Fault",
    "agreement",
    "agreement_intervals",
    "agreement_with",
    "constraint_violation",
    "diversity",
    "faults",
    "fine_energy",
    "inception_distances",
    "judge_distances",
    "mean_interval",
    "measurement_metrics",
    "natural_norm",
    "penrose_errors",
    "pixel_metrics",
    "psnr",
    "ratio_interval",
    "saturated",
    "verdict",
]
