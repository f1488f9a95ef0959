"""Metrics of sampled images."""

from spnn.metrics.agreement import attribute_metrics
from spnn.metrics.samples import agreement_with, measurement_metrics, pixel_metrics

__all__ = ["agreement_with", "attribute_metrics", "measurement_metrics", "pixel_metrics"]
