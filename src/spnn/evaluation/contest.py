"""Compare methods at equal effort: how many steps each takes within a budget, and which is best at what."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from spnn.diffusion.sampler import Sampler
from spnn.errors import InputError
from spnn.evaluation.effort import Effort, effort
from spnn.evaluation.findings import Table, with_values
from spnn.evaluation.study import Study
from spnn.sampling.models import Models

__all__ = ["Contest", "Plan", "best", "curves", "guided", "within_interval", "words"]

_SAMPLERS = {"resample": {"eta": 0.0}}
_TRIED = (10, 20)  # numbers of steps that are tried; the effort is taken to be linear in the number


class Plan(NamedTuple):
    """How a method samples within a budget: the sampler, its number of steps, and the cost of an image."""

    sampler: Sampler
    steps: int
    cost: Effort


class Contest:
    """Compares guidances that may all evaluate the prior equally often for an image; that number is the *budget*. How
    many sampling steps a method gets depends on what each step costs, and what it needs besides the steps. Gradients
    through the prior are counted separately; each takes about as long as two more evaluations.

    Arguments:
        budgets: Evaluations of the prior for an image, one or more numbers.
        methods: The config's methods to compare; None for all.
        samplers: Method to options of the sampler that it is meant for; None for ``{resample: {eta: 0}}``.

    Raises:
        InputError: If a budget is not a whole number of at least 1.
    """

    def __init__(
        self,
        budgets: Sequence[int],
        methods: Sequence[str] | None,
        samplers: Mapping[str, Mapping[str, Any]] | None,
    ):
        if not budgets or any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in budgets):
            raise InputError(f"study.budgets are whole numbers of at least 1, such as [50, 100], got {budgets!r}.")
        self.budgets, self.only = sorted(set(budgets)), methods
        self.samplers = _SAMPLERS if samplers is None else samplers

    def names(self, study: Study) -> list[str]:
        """The methods to compare.

        Raises:
            InputError: If one is unknown, there are none, or the sampler would start from images.
        """
        only = list(study.guidances if self.only is None else self.only)
        if unknown := [name for name in only if name not in study.guidances]:
            raise InputError(f"study.methods names {unknown}; `methods` has {', '.join(study.guidances)}.")
        if self.samplers is not _SAMPLERS and (unknown := [n for n in self.samplers if n not in study.guidances]):
            raise InputError(f"study.samplers names {unknown}; `methods` has {', '.join(study.guidances)}.")
        if not only:
            raise InputError("`methods` names no guidance to compare.")
        if study.config.sampler.get("start") is not None:
            raise InputError(f"study={study.name} draws from noise: leave sampler.start=null.")
        return only

    def plans(self, study: Study, name: str, guidance: Callable, models: Models, y: Tensor) -> dict[int, Plan]:
        """How a method samples within each budget.

        Arguments:
            study: The study that provides the sampler.
            name: The method's name.
            guidance: Makes the method's guidance.
            models: The prior and the operator.
            y: A target, [1, ...].

        Raises:
            InputError: If a budget is too small for even one step.
        """

        def sampler(steps: int) -> Sampler:
            return study.sampler(**self.samplers.get(name) or {}, steps=steps)

        tried = [effort(models, sampler(steps), guidance, y) for steps in _TRIED]
        # Evaluations and gradients: those besides the steps, and those of each step.
        lines = [_line(getattr(tried[0], key), getattr(tried[1], key)) for key in ("evaluations", "gradients")]
        plans = {}
        for budget in self.budgets:
            steps = min(self._steps(budget, name, *lines[0]), models.prior.schedule.num_steps)
            evaluations, gradients = (round(besides + each * steps) for besides, each in lines)
            plans[budget] = Plan(sampler(steps), steps, Effort(evaluations, gradients, tried[0].kept_mib))
        return plans

    def _steps(self, budget: int, name: str, besides: float, each: float) -> int:
        """The most steps that a budget allows, at ``each`` evaluations a step and ``besides`` more in all."""
        steps = math.floor((budget - besides) / each)
        if steps < 1:
            raise InputError(
                f"study.budgets={self.budgets} are too small for {name}, which asks the prior {each:g} times in a step "
                f"and {besides:g} times besides: raise them, lower its options, or leave it out of study.methods."
            )
        return steps

    def largest(self, entries: Iterable[dict]) -> list[dict]:
        """The entries of the largest budget."""
        return [entry for entry in entries if entry["budget"] == self.budgets[-1]]

    def tables(
        self, entries: list[dict], columns: dict[str, str], timed: Mapping[str, str], problem: str | None = None
    ) -> list[Table]:
        """One table for each budget, the largest first, and one at equal time.

        Arguments:
            entries: As for :func:`_at_equal_time`, with ``budget``.
            columns: The columns of the budgets' tables: key to title.
            timed: The columns of the table at equal time.
            problem: The problem of the entries, if there are several problems.
        """
        suffix, title = (f"_{problem}", f"{words(problem)}: at most") if problem else ("", "At most")
        tables = []
        for budget in reversed(self.budgets):
            own = [entry for entry in entries if entry["budget"] == budget]
            name = f"table{suffix}" + ("" if budget == self.budgets[-1] else f"_{budget}")
            shown = with_values(columns, own)
            tables.append(Table(name, f"{title} {budget} evaluations of the prior for an image", shown, own))
        title = f"{words(problem)}: after" if problem else "After"
        return [*tables, *filter(None, [_at_equal_time(entries, timed, f"equal_time{suffix}", title)])]


def words(problem: str) -> str:
    """A problem's name, written to begin a text."""
    return problem.replace("_", " ").capitalize()


def guided(entries: Sequence[dict]) -> list[dict]:
    """The entries of methods other than ``none``, if there are any."""
    return [entry for entry in entries if entry["guidance"] != "none"] or list(entries)


def best(entries: Sequence[dict], aims: Sequence[tuple[str, str, Callable, str]]) -> str:
    """Which methods are best at what; several methods share a place if their figures look equal when written.

    Arguments:
        entries: The methods' entries; those of ``none`` are left out.
        aims: For each aim, the key of a figure, what it shows, ``max`` or ``min``, and the figure's format.
    """
    said, entries = [], guided(entries)
    for key, what, better, form in aims:
        if all(entry.get(key) is not None for entry in entries):
            value = form.format(better(entry[key] for entry in entries))
            names = [entry["guidance"] for entry in entries if form.format(entry[key]) == value]
            said.append(f"{what} {' and '.join(names)} ({value})")
    return "; ".join(said)


def within_interval(entries: Sequence[dict], key: str) -> str:
    """A sentence on the methods whose figure lies within the best one's 95 % interval; empty if there are none."""
    first = max(entries, key=lambda entry: entry[key])
    near = [e["guidance"] for e in entries if e is not first and e[key] >= first[f"{key}_interval"][0]]
    return f" Within the 95 % interval of {first['guidance']}: {', '.join(near)}." if near else ""


def curves(entries: Sequence[dict], x: str, y: str, scale: float = 1.0) -> dict[str, tuple[list[float], list[float]]]:
    """Method to the ``x`` and the ``y``, times a scale, of those of its entries that have both."""
    known = _by_method([entry for entry in entries if None not in (entry.get(x), entry.get(y))])
    return {method: ([e[x] for e in own], [scale * e[y] for e in own]) for method, own in known.items()}


def _by_method(entries: Sequence[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for entry in entries:
        found.setdefault(entry["guidance"], []).append(entry)
    return found


def _at_equal_time(entries: Sequence[dict], keys: Mapping[str, str], name: str, title: str) -> Table | None:
    """What methods reach in the time that the first one takes for its largest budget, interpolated between their own
    budgets; empty for a method whose smallest budget takes longer.

    Arguments:
        entries: With ``guidance`` and ``seconds_per_image``; a method's entries go from its smallest budget to its
            largest.
        keys: Keys of figures to their titles.
        name: The table's name.
        title: The beginning of its title, before the time.
    """
    by_method = _by_method(entries)
    few = len(by_method) < 2 or any(len(own) < 2 for own in by_method.values())
    if few or any(entry["seconds_per_image"] is None for entry in entries):
        return None
    time, rows = next(iter(by_method.values()))[-1]["seconds_per_image"], []
    for method, own in by_method.items():
        times = [entry["seconds_per_image"] for entry in own]
        rows.append({"guidance": method} | {key: _between(times, [e.get(key) for e in own], time) for key in keys})
    return Table(name, f"{title} {time:.2g} s an image", {"guidance": "guidance", **keys}, rows)


def _line(few: float, more: float) -> tuple[float, float]:
    """What is needed besides the steps, and for each step, given what the two tried numbers of steps needed."""
    low, high = _TRIED
    each = (more - few) / (high - low)
    return few - low * each, each


def _between(times: list[float], values: list[float | None], time: float) -> float | None:
    """The value at a time, interpolated between the known ones; after the last time, the last value."""
    known = [value for value in values if value is not None]
    return None if len(known) < len(values) or time < times[0] else float(np.interp(time, times, known))
