"""A run is a folder that describes itself.

::

    outputs/synthetic_faces/2026-01-31_12-00-00/
        config.yaml                     every option, resolved
        run.json                        how it stands, and each start: command, git state, environment
        changes_1.diff                  what was not committed at the first start, if anything
        metrics.json                    each stage's test metrics
        task/ inverse/ prior/ judge/    per stage: metrics.csv, pictures/, checkpoints/, weights.safetensors
        samples/  evaluation/           what sample.py and evaluate.py wrote

``weights.safetensors`` holds the stage's result, the best checkpoint's (averaged) weights; where it exists, the stage
is finished. Later stages, sampling and evaluation start from it. ``python -m spnn.runs`` lists, filters and compares.
"""

from spnn.runs.folders import alone_in, check_results_folder, fresh_folder
from spnn.runs.record import Record
from spnn.runs.run import Run, noisy_judge_of, stages_of, trained_by

__all__ = [
    "Record",
    "Run",
    "alone_in",
    "check_results_folder",
    "fresh_folder",
    "noisy_judge_of",
    "stages_of",
    "trained_by",
]
