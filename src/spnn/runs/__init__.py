"""A run is a self-describing folder.

::

    outputs/synthetic_faces/2026-01-31_12-00-00/
        config.yaml                     every option, resolved
        run.json                        its status, and each start: command, git state, environment
        changes_1.diff                  uncommitted changes at the first start, if any
        metrics.json                    each stage's test metrics
        task/ inverse/ prior/ judge/    per stage: metrics.csv, pictures/, checkpoints/, weights.safetensors
        samples/  evaluation/           results of sample.py and evaluate.py

``weights.safetensors`` holds the stage's result, the (averaged) weights of the best checkpoint; if it exists, the stage
is finished. Later stages, sampling and evaluation start from it. ``python -m spnn.runs`` lists, filters and compares
runs.
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
