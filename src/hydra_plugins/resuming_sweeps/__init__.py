"""Sweeps that can be resumed: a Hydra plugin for any Hydra project. It imports nothing from spnn.

A project only needs ``hydra/sweeper=resuming`` or ``hydra/sweeper=resuming_optuna``. The same command then continues an
interrupted ``--multirun``: finished jobs are left alone, jobs that failed or were killed are run again, and at the end
there is one table of all jobs.

Hydra imports and executes the modules here at each start, except those whose names begin with an underscore. These hold
what must exist only once, such as classes that launchers pickle, and what is slow to import, such as Optuna.
"""

from hydra_plugins.resuming_sweeps._jobs import folder_name

__all__ = ["folder_name"]
