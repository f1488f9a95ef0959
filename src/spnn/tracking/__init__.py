"""Experiment tracking: Lightning's loggers, several at once, and pictures and tables for those that show them."""

from spnn.tracking.loggers import log_bars, log_picture, log_table, log_weights, tracking
from spnn.tracking.metrics_log import MetricsLog
from spnn.tracking.wandb_log import WandbLog

__all__ = ["MetricsLog", "WandbLog", "log_bars", "log_picture", "log_table", "log_weights", "tracking"]
