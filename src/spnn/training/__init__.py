"""Training: one Lightning module per stage, and a runner that passes the best weights from stage to stage."""

from spnn.training.adversary import Adversary
from spnn.training.attribute_weights import AdaptiveWeights
from spnn.training.classifier import JudgeStage, NoisyJudgeStage
from spnn.training.inverse import InverseStage
from spnn.training.prior import PriorStage
from spnn.training.run import train
from spnn.training.stage import Stage
from spnn.training.task import TaskStage

__all__ = [
    "AdaptiveWeights",
    "Adversary",
    "InverseStage",
    "JudgeStage",
    "NoisyJudgeStage",
    "PriorStage",
    "Stage",
    "TaskStage",
    "train",
]
