"""A multirun whose jobs Optuna chooses, in a study that outlives the command.

What is searched is said in Hydra's own grammar: ``lr=interval(1e-4,1e-2)`` (a number in between; of integers with
``int(...)``; on a logarithmic scale with ``tag(log, interval(...))``), ``width=range(16,65,16)``,
``mixing=cayley,householder``.

The same command goes on until there are ``n_trials`` finished trials. First come those that were interrupted or that
failed, with the values that they had, so that their jobs have the folders that they had, and continue there.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra.utils
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

__all__ = ["OptunaSweeper"]

log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Hydra's sweeper.

    Arguments:
        objective: The metric that jobs return, to be large; ``-name`` if it is to be small.
        n_trials: Finished trials in all.
        n_jobs: Trials that are chosen, and launched, together.
        study_name: Of the study in its storage.
        storage: A database's URL; None for ``optuna_<study_name>.db`` in the sweep's folder.
        sampler: Config of an Optuna sampler, which takes a seed.
        seed: Of the sampler.
        params: What is searched or set, beside what the command line says.

    Raises:
        CompactHydraException: When it sweeps, if Optuna isn't installed, nothing is searched, or the jobs don't return
            the metric.
    """

    def __init__(
        self,
        objective: str | None,
        n_trials: int,
        n_jobs: int,
        study_name: str,
        storage: str | None,
        sampler: DictConfig,
        seed: int,
        params: DictConfig,
    ):
        if objective is None:
            raise CompactHydraException("Optuna needs a metric: hydra.sweeper.objective=-task/loss, for example.")
        self.metric = objective.removeprefix("-")
        self.direction: Literal["minimize", "maximize"] = "minimize" if objective[0] == "-" else "maximize"
        self.n_trials, self.n_jobs, self.study_name, self.storage = n_trials, n_jobs, study_name, storage
        self.sampler, self.seed, self.params = sampler, seed, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.config_loader = config, hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        try:
            from hydra_plugins.spnn_optuna import _study as studies
        except ImportError as error:
            raise CompactHydraException("hydra/sweeper=optuna needs Optuna: pip install 'spnn[optuna]'.") from error
        self.studies = studies
        arguments = [f"{key}={self.params[key]}" for key in map(str, self.params)] + arguments
        fixed, space = self._read(arguments)
        assert self.launcher is not None  # Hydra calls `setup` before
        study = self._study()
        waiting = studies.again(study, space)
        done = len(studies.finished(study))
        log.info(
            "study %s: %d of %d trials are finished, %d are tried again", self.study_name, done, self.n_trials, waiting
        )
        # What is tried again costs no new trial its place: it may fail for good.
        attempts, jobs = self.n_trials - done + waiting, 0
        while attempts > 0 and (left := self.n_trials - len(studies.finished(study))) > 0:
            trials = [study.ask(space) for _ in range(min(self.n_jobs, left, attempts))]
            overrides = [fixed + [f"{key}={value}" for key, value in trial.params.items()] for trial in trials]
            self.validate_batch_is_legal(overrides)
            returned = self.launcher.launch(overrides, initial_job_idx=jobs)
            for trial, job in zip(trials, returned, strict=True):
                assert job.hydra_cfg is not None
                trial.set_user_attr("folder", str(job.hydra_cfg.hydra.runtime.output_dir))
                self._tell(study, trial, job)
            attempts, jobs = attempts - len(trials), jobs + len(trials)
        self._conclude(study)

    def _read(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, "BaseDistribution"]]:
        """What is the same in all jobs, and what is searched: an override's key to a distribution."""
        fixed: list[str] = []
        space: dict[str, BaseDistribution] = {}
        for override in OverridesParser.create(config_loader=self.config_loader).parse_overrides(list(arguments)):
            if override.is_sweep_override():
                space[override.get_key_element()] = self.studies.distribution(override)
            else:
                fixed.append(str(override.input_line))
        if not space:
            raise CompactHydraException(
                "nothing to search: say what, such as 'stage.task.module.optimizer.lr=tag(log, interval(1e-4, 1e-2))'."
            )
        return fixed, space

    def _study(self) -> "Study":
        assert self.config is not None  # Hydra calls `setup` before
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        storage = self.storage or f"sqlite:///{(folder / f'optuna_{self.study_name}.db').resolve()}"
        study = self.studies.open_study(storage, self.study_name, self.direction)
        # With the same seed a sampler would begin with the values that it began with before.
        study.sampler = hydra.utils.instantiate(self.sampler)(seed=self.seed + len(study.trials))
        return study

    def _tell(self, study: "Study", trial: Any, job: JobReturn) -> None:
        """Hand a job's metric to the study; a job that failed, or has no such metric, is a failed trial."""
        metrics = job.return_value if job.status == JobStatus.COMPLETED else {}
        value = (metrics or {}).get(self.metric)
        if value is None:
            study.tell(trial, state=self.studies.TrialState.FAIL)
        else:
            study.tell(trial, float(value))
        if metrics and value is None:
            known = ", ".join(name for name in metrics if name.count("/") < 2)
            raise CompactHydraException(
                f"the jobs return no {self.metric!r}, but {known}: set hydra.sweeper.objective."
            )

    def _conclude(self, study: "Study") -> None:
        from spnn.sweeps import Comparison

        finished = self.studies.finished(study)
        Comparison.earlier.update(Path(trial.user_attrs["folder"]) for trial in finished)
        if finished:
            best = study.best_trial
            chosen = " ".join(f"{key}={value}" for key, value in best.params.items())
            log.info("best of %d trials: %s %.4g with %s", len(finished), self.metric, best.value, chosen)
