"""The sweeper's use of Optuna. Hydra doesn't look for plugins in a module whose name begins with an underscore, so
Optuna is only imported when it is used."""

import math
from typing import Any, Literal

import optuna
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import CompactHydraException
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

__all__ = ["again", "distribution", "finished", "open_study"]


def open_study(storage: str, name: str, direction: Literal["minimize", "maximize"]) -> Study:
    """The study with this name; a new one if there is none.

    Raises:
        CompactHydraException: If the database can't be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    except SQLAlchemyError as error:
        raise CompactHydraException(
            f"{storage} can't be read as Optuna's database ({str(error).splitlines()[0]}). It was left as it is: "
            "repair it, or move it away, and a new study begins; jobs that are done stay done."
        ) from error


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that finished with a value."""
    return study.get_trials(states=[TrialState.COMPLETE])


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for the values that an override sweeps over."""
    value = override.value()
    if isinstance(value, IntervalSweep) and value.start is not None and value.end is not None:
        start, end, log_scale = value.start, value.end, "log" in value.tags
        if isinstance(start, int) and isinstance(end, int):
            return IntDistribution(start, end, log=log_scale)
        return FloatDistribution(start, end, log=log_scale)
    if isinstance(value, RangeSweep) and not value.shuffle and value.start is not None and value.stop is not None:
        start, stop, step = value.start, value.stop, value.step
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            return IntDistribution(start, stop - 1, step=step)
        steps = math.ceil((stop - start) / step - 1e-9) - 1  # the end itself isn't in a range
        return FloatDistribution(start, start + steps * step, step=step)
    if isinstance(value, ChoiceSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    raise CompactHydraException(f"{override.input_line}: search by interval(...), range(...) or a list of values.")


def again(study: Study, space: dict[str, BaseDistribution]) -> int:
    """Put trials that were interrupted, or failed and haven't been repeated since, first in the queue; return how many
    trials are waiting."""
    settled: list[dict[str, Any] | None] = [trial.params for trial in finished(study)]
    settled += [t.system_attrs.get("fixed_params") for t in study.get_trials(states=[TrialState.WAITING])]
    failed = study.get_trials(states=[TrialState.FAIL])
    interrupted = study.get_trials(states=[TrialState.RUNNING])  # the command that ran them has ended
    for trial in interrupted:
        study.tell(trial.number, state=TrialState.FAIL)
    for trial in [*interrupted, *failed]:
        if trial.params and trial.params not in settled and trial.params.keys() == space.keys():
            study.enqueue_trial(trial.params)
            settled.append(trial.params)
    return len(study.get_trials(states=[TrialState.WAITING]))
