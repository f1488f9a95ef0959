"""Find runs, filter them, sort them by a metric, and compare two."""

import fnmatch
import json
import math
import operator
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from spnn.configs import plain
from spnn.errors import InputError, nearest
from spnn.runs.record import read_status
from spnn.runs.run import Run, flat

__all__ = ["Condition", "Listed", "best_first", "compare", "find_runs"]

_COMPARISONS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


class Listed(Run):
    """A run in a list."""

    @cached_property
    def record(self) -> dict[str, Any]:
        """``run.json``."""
        if found := read_status(self.folder):
            return found
        raise InputError(f"{self.folder} has no run.json: it isn't a run's folder.")

    @cached_property
    def options(self) -> dict[str, Any]:
        """The run's config."""
        return plain(self.config, resolve=False)

    @cached_property
    def figures(self) -> dict[str, float]:
        """All numbers in ``metrics.json``, as ``stage/metric``, and the evaluation's, ``evaluation/method/metric``."""
        found: dict[str, float] = {}
        for stage, metrics in self.all_metrics().items():
            found |= {f"{stage}/{name}": value for name, value in metrics.items()}
        evaluation = self.folder / "evaluation/metrics.json"
        for entry in json.loads(evaluation.read_text(encoding="utf-8")) if evaluation.exists() else []:
            method = entry.get("guidance")
            found |= {f"evaluation/{method}/{name}": value for name, value in entry.items()}
        return {name: value for name, value in found.items() if isinstance(value, int | float)}

    @property
    def means(self) -> dict[str, float]:
        """The figures over all labels together, as ``stage/metric``."""
        return {name: value for name, value in self.figures.items() if name.count("/") == 1}

    @property
    def began(self) -> datetime:
        """When the run was first started."""
        return datetime.fromisoformat(self.record["starts"][0]["began"])

    @property
    def seconds(self) -> float:
        """The total time that the run's processes have run; the time of a process that was killed isn't counted."""
        spans = [(start["began"], start["ended"] or start["began"]) for start in self.record["starts"]]
        if self.record["status"] == "running":
            spans[-1] = (spans[-1][0], datetime.now().astimezone().isoformat())
        return sum((datetime.fromisoformat(b) - datetime.fromisoformat(a)).total_seconds() for a, b in spans)

    @cached_property
    def values(self) -> dict[str, Any]:
        """The values that conditions and columns can name: ``folder``, ``status``, ``began``, options, metrics."""
        described = {
            "folder": str(self.folder),
            "status": self.record["status"],
            "began": f"{self.began:%Y-%m-%d %H:%M}",
        }
        return {**flat(self.options), **self.figures, **described}


class Condition:
    """A condition on runs: ``status=finished``, ``network.mixing!=cayley``, ``task/accuracy>=0.98``, ``name=celeba*``.

    Raises:
        InputError: If it can't be read.
    """

    def __init__(self, text: str):
        match = re.fullmatch(r"([^<>=!]+)(!=|<=|>=|=|<|>)(.*)", text)
        if match is None:
            raise InputError(f"{text!r} is not a valid condition: use name=value, with =, !=, <, <=, > or >=.")
        self.name, self.sign, self.value = match.groups()
        if self.sign in _COMPARISONS and not _is_number(self.value):
            raise InputError(f"{text!r} compares with {self.value!r}, which is not a number.")

    def holds(self, run: Listed) -> bool:
        """Whether a run meets the condition; False if the run has no such value."""
        if self.name not in run.values:
            return False
        value = run.values[self.name]
        if self.sign in _COMPARISONS:
            return isinstance(value, int | float) and _COMPARISONS[self.sign](value, float(self.value))
        if isinstance(value, int | float) and not isinstance(value, bool) and _is_number(self.value):
            same = value == float(self.value)
        else:
            written = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            same = fnmatch.fnmatchcase(written, self.value)
        return same == (self.sign == "=")


def find_runs(root: str | Path, conditions: Sequence[str] = ()) -> list[Listed]:
    """The runs anywhere below a folder that meet all conditions, newest first.

    Raises:
        InputError: If a condition can't be read, or uses a name that no run has.
    """
    parsed = [Condition(text) for text in conditions]
    runs = [Listed(path.parent) for path in Path(root).glob("**/run.json") if (path.parent / "config.yaml").exists()]
    for condition in parsed:
        _check_known(condition.name, runs)
    runs = [run for run in runs if all(condition.holds(run) for condition in parsed)]
    return sorted(runs, key=lambda run: run.began, reverse=True)


def best_first(runs: Sequence[Listed], metric: str) -> list[Listed]:
    """Sort runs by a metric, ``-name`` if less is better; runs without it are left out.

    Raises:
        InputError: If no run has it.
    """
    name, sign = metric.removeprefix("-"), 1 if metric.startswith("-") else -1
    _check_known(name, runs)
    measured = [run for run in runs if isinstance(run.values.get(name), int | float)]
    return sorted(
        (run for run in measured if not math.isnan(run.values[name])), key=lambda run: sign * run.values[name]
    )


def compare(first: Listed, second: Listed) -> tuple[dict[str, tuple[Any, Any]], dict[str, tuple[Any, Any]]]:
    """The options that differ between two runs, and all metrics of either: name to both values, None if missing."""
    options, others = flat(first.options), flat(second.options)
    names = sorted(options.keys() | others.keys())
    different = {name: (options.get(name), others.get(name)) for name in names if options.get(name) != others.get(name)}
    names = list(dict.fromkeys([*first.figures, *second.figures]))
    return different, {name: (first.figures.get(name), second.figures.get(name)) for name in names}


def _check_known(name: str, runs: Sequence[Listed]) -> None:
    known = {value for run in runs for value in run.values}
    if runs and name not in known:
        raise InputError(
            f"no run has a {name!r}{nearest(name, known)}. Names are those of config.yaml, dotted, and of metrics.json."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
