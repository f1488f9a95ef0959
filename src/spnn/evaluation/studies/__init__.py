"""The studies, one per file."""

from spnn.evaluation.studies.ablation import Ablation
from spnn.evaluation.studies.arena import Arena
from spnn.evaluation.studies.edit import Edit
from spnn.evaluation.studies.multi import Multi
from spnn.evaluation.studies.penrose import Penrose
from spnn.evaluation.studies.reconstruction import Reconstruction
from spnn.evaluation.studies.restoration import Restoration
from spnn.evaluation.studies.steps import Steps

__all__ = ["Ablation", "Arena", "Edit", "Multi", "Penrose", "Reconstruction", "Restoration", "Steps"]
