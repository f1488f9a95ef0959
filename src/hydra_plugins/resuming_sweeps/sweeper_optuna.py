"""A sweep whose jobs Optuna chooses, in a study that outlives the command.

The search space is written in Hydra's own grammar: ``lr=interval(1e-4,1e-2)`` (a number in between; ``int(...)`` for
integers, ``tag(log, interval(...))`` for a logarithmic scale), ``width=range(16,65,16)``,
``mixing=cayley,householder``.

Running the same command again continues the search until there are ``n_trials`` finished trials. Trials that were
interrupted or failed come first, with the same values as before, so that their jobs have the same folders and continue
there; if such a job had finished, the study only gets its result.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import hydra.utils
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from hydra_plugins.resuming_sweeps import _table
from hydra_plugins.resuming_sweeps._jobs import read
from hydra_plugins.resuming_sweeps.sweeper import Placed, ResumingConf, ResumingSweeper

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["OptunaConf", "OptunaSweeper"]

log = logging.getLogger(__name__)


@dataclass
class OptunaConf(ResumingConf):
    """The options of ``hydra/sweeper=resuming_optuna``."""

    _target_: str = "hydra_plugins.resuming_sweeps.sweeper_optuna.OptunaSweeper"
    objective: str | None = None
    direction: str | None = None
    n_trials: int = 20
    n_jobs: int = 1
    study_name: str | None = "search"
    storage: str | None = None
    sampler: Any = field(default_factory=lambda: {"_target_": "optuna.samplers.TPESampler"})
    seed: int = 0


ConfigStore.instance().store(group="hydra/sweeper", name="resuming_optuna", node=OptunaConf, provider="resuming_sweeps")


class OptunaSweeper(ResumingSweeper):
    """Hydra's sweeper.

    Arguments:
        objective: The metric that jobs return and that is maximised; ``-name`` to minimise it. A job that returns one
            number has the metric ``result``.
        direction: ``maximize`` or ``minimize``, instead of the minus; then the default objective is ``result``.
        n_trials: The total number of finished trials.
        n_jobs: The number of trials that are chosen and launched together.
        study_name: The name of the study in its storage.
        storage: A database's URL; None for ``optuna_<study_name>.db`` in the sweep's folder.
        sampler: Config of an Optuna sampler that takes a seed.
        seed: The sampler's seed, if its config has none.
        **options: Those of :class:`ResumingSweeper`.

    Raises:
        CompactHydraException: If neither an objective nor a direction is given. When sweeping, if Optuna isn't
            installed, there is nothing to search, or the jobs don't return the metric.
    """

    def __init__(
        self,
        objective: str | None,
        direction: Literal["maximize", "minimize"] | None,
        n_trials: int,
        n_jobs: int,
        study_name: str | None,
        storage: str | None,
        sampler: DictConfig,
        seed: int,
        **options: Any,
    ):
        super().__init__(**options)
        if direction not in (None, "maximize", "minimize") or (direction is None and objective is None):
            raise CompactHydraException(
                "Optuna needs a metric: hydra.sweeper.objective=-task/loss, for example, or of jobs that return one "
                f"number hydra.sweeper.direction=minimize or maximize; got {objective} and {direction}."
            )
        objective = objective or "result"
        self.metric = objective.removeprefix("-")
        self.direction: Literal["maximize", "minimize"] = direction or (
            "minimize" if objective[0] == "-" else "maximize"
        )
        self.best = self.best or "-" * (self.direction == "minimize") + self.metric
        self.n_trials, self.n_jobs, self.study_name, self.storage = n_trials, n_jobs, study_name or "search", storage
        self.sampler, self.seed = sampler, sampler.get("seed", seed)

    def _run(self, overrides: Sequence[Override]) -> list[_table.Row]:
        try:
            from hydra_plugins.resuming_sweeps import _study as studies
        except ImportError as error:
            chosen = self.config.hydra.runtime.choices["hydra/sweeper"]
            raise CompactHydraException(f"hydra/sweeper={chosen} needs Optuna: pip install 'spnn[optuna]'.") from error
        self.studies = studies
        fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
        space = {word.get_key_element(): studies.distribution(word) for word in overrides if word.is_sweep_override()}
        if not space:
            raise CompactHydraException(
                "nothing to search: name options, such as "
                "'stage.task.module.optimizer.lr=tag(log, interval(1e-4, 1e-2))'."
            )
        study, ran = self._study(), list[Placed]()
        waiting = studies.again(study, space)
        done = len(studies.finished(study))
        log.info(
            "study %s: %d of %d trials are finished, %d are tried again", self.study_name, done, self.n_trials, waiting
        )
        # Trials that are tried again don't take the places of new ones: they may fail every time.
        attempts = self.n_trials - done + waiting
        exhausted = False
        while attempts > 0 and not exhausted and (left := self.n_trials - len(studies.finished(study))) > 0:
            trials = [study.ask(space) for _ in range(min(self.n_jobs, left, attempts))]
            words = [fixed + [f"{key}={value}" for key, value in trial.params.items()] for trial in trials]
            places = self._place(words, first=trials[0].number)
            self._launch(places, first=trials[0].number)
            for trial, place in zip(trials, places, strict=True):
                trial.set_user_attr("folder", str(place.folder.relative_to(self.folder)))
                exhausted |= self._tell(study, trial, self._row(place))
            attempts, ran = attempts - len(trials), ran + places
        return self._rows(study, ran)

    def _study(self) -> "Study":
        storage = self.storage or f"sqlite:///{self.folder / f'optuna_{self.study_name}.db'}"
        study = self.studies.open_study(storage, self.study_name, self.direction)
        # With the same seed, the sampler would begin with the same values as before.
        study.sampler = hydra.utils.instantiate(self.sampler, _partial_=True)(seed=self.seed + len(study.trials))
        return study

    def _tell(self, study: "Study", trial: Any, row: _table.Row) -> bool:
        """Hand a job's metric to the study; a job that failed, or whose metric is NaN, is a failed one. Return whether
        the sampler has tried every value that there is."""
        metrics, exhausted = row["metrics"], False
        value = metrics.get(self.metric)
        try:
            if value is None:
                study.tell(trial, state=self.studies.TrialState.FAIL)
            else:
                study.tell(trial, float(value))
        except RuntimeError as error:
            if "Study.stop" not in str(error):
                raise
            exhausted = True  # how samplers of grids end `Study.optimize`, which isn't used here
        if row["status"] == "finished" and self.metric not in metrics:
            known = _table.known(metrics) or "nothing"
            raise CompactHydraException(
                f"the jobs return no {self.metric!r}, but {known}: set hydra.sweeper.objective."
            )
        return exhausted

    def _rows(self, study: "Study", ran: Sequence[Placed]) -> list[_table.Row]:
        """The jobs of all finished trials, including those of earlier commands, and any other jobs of this command."""
        rows, finished = {place.folder: self._row(place) for place in ran}, self.studies.finished(study)
        for trial in finished:
            folder = self.folder / trial.user_attrs.get("folder", "")
            if folder not in rows and (record := read(folder)):
                rows[folder] = {**record, "folder": str(folder)}
        if finished:
            best = study.best_trial
            chosen = " ".join(f"{key}={value}" for key, value in best.params.items())
            log.info("best of %d trials: %s %.4g with %s", len(finished), self.metric, best.value, chosen)
        return list(rows.values())
