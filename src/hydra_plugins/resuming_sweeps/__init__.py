"""Sweeps that go on: Hydra's plugin, for any Hydra project. It imports nothing of spnn.

``hydra/sweeper=resuming`` and ``hydra/sweeper=resuming_optuna`` are all that a project needs. A ``--multirun`` that was
interrupted then goes on by the same command: jobs that are done are left as they are, those that failed or were killed
are run again, and at the end there is one table of all.

Hydra imports and executes the modules here at each start, but those whose names begin with an underscore: these hold
what must be there once, such as classes that launchers pickle, and what is slow to import, such as Optuna.
"""

from hydra_plugins.resuming_sweeps._jobs import folder_name

__all__ = ["folder_name"]
