"""The commands: ``spnn train``, ``sample``, ``evaluate``, ``edit``, ``runs`` and ``doctor``."""

import os

if "SLURM_NTASKS" in os.environ and "SLURM_STEP_ID" not in os.environ:
    # In an allocation but not started by srun, this is the only process, but Lightning would expect others on import.
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"):
        os.environ.pop(name, None)
