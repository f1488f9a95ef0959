"""Experiment tracking: one or more of Lightning's loggers; trackers also get pictures, tables and files."""

from spnn.tracking.harmless import harmless
from spnn.tracking.loggers import log_bars, log_picture, log_table, log_weights, tracking
from spnn.tracking.metrics_log import MetricsLog
from spnn.tracking.mlflow_log import MlflowLog
from spnn.tracking.tensorboard_log import TensorBoardLog
from spnn.tracking.tracker import RunTracker, Tracker
from spnn.tracking.trackio_log import TrackioLog
from spnn.tracking.wandb_log import WandbLog

__all__ = [
    "MetricsLog",
    "MlflowLog",
    "RunTracker",
    "TensorBoardLog",
    "Tracker",
    "TrackioLog",
    "WandbLog",
    "harmless",
    "log_bars",
    "log_picture",
    "log_table",
    "log_weights",
    "tracking",
]
