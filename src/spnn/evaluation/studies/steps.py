"""How agreement depends on the number of sampling steps and on the time they take."""

from collections.abc import Mapping, Sequence
from typing import Any

from spnn.errors import InputError
from spnn.evaluation.findings import Findings, Lines
from spnn.evaluation.study import Request, Samples, Study
from spnn.evaluation.subject import means

__all__ = ["Steps"]

_COLUMNS = {
    "guidance": "guidance",
    "solver": "solver",
    "steps": "steps",
    "agreement": "agree %",
    "mae": "MAE",
    "judge_agreement": "judge %",
    "judge_agreement_interval": "95 % CI of it, %",
    "judge_mae": "judge MAE",
    "saturated": "black or white %",
    "fine_energy_ratio": "fine detail, x real",
    "seconds_per_image": "s an image",
}


class Steps(Study):
    """Reconstruction with different numbers of sampling steps, from the same noise.

    Arguments:
        steps: The numbers of steps (noise levels visited) to compare.
        solvers: Name to options of the sampler, such as ``{dpm: {order: 2, eta: 0}}``, to compare; None for the
            sampler with its own options.
    """

    name = "steps"

    def __init__(
        self,
        steps: Sequence[int] = (5, 10, 20, 50, 100, 200),
        solvers: Mapping[str, Mapping[str, Any] | None] | None = None,
    ):
        if not steps:
            raise InputError("study.steps must name numbers of steps, e.g. [10, 100].")
        every = solvers or {"": None}
        if not isinstance(every, Mapping) or not all(
            isinstance(one, Mapping) and "steps" not in one for one in every.values() if one
        ):
            raise InputError(
                "study.solvers are names with options of the sampler other than its steps, such as {dpm: {order: 2, "
                f"eta: 0}}}}, got {solvers!r}."
            )
        self.steps, self.solvers = sorted(set(steps)), every

    def _series(self) -> list[tuple[str, str]]:
        """Each method with each solver."""
        return [(method, solver) for method in self.methods() for solver in self.solvers]

    def requests(self) -> dict[str, Request]:
        y, names, seeds = self.subject.y, self.subject.names, self.seeds().squeeze(1)
        requests = {}
        for method, solver in self._series():
            for steps in self.steps:
                sampler = self.sampler(**{**(self.solvers[solver] or {}), "steps": steps})
                requests[_name(method, solver, steps)] = Request(
                    self.methods()[method], names, seeds, y, sampler=sampler
                )
        if not requests:
            raise InputError("`methods` names no guidance to sample with.")
        return requests

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries = []
        for method, solver in self._series():
            for steps in self.steps:
                found = samples[_name(method, solver, steps)]
                values = self.subject.compare(self.subject.decoded(self.subject.views(found.images)))
                entry: dict[str, Any] = {"guidance": method, "steps": steps, **means(values)}
                entry["seconds_per_image"] = found.seconds_per_image
                entry |= {"solver": solver} if solver else {}
                entries.append(entry | self.subject.realism(found.images))
        count = len(self.subject.names)
        title = f"Sampling steps: {count} held-out images from y"
        compared = (
            f"The same {count} held-out images are reconstructed from their outputs with different "
            "numbers of steps, from the same noise, and compared as in the study of reconstruction. The time is that "
            "of the whole sampling on this machine, in batches, its start included; it is left out where an "
            "interrupted evaluation went on."
        )
        verdicts = [sentence for series in self._series() for sentence in self._verdicts(*series, entries)]
        return self.findings(title, compared, _COLUMNS, entries, verdicts, self._curves(entries))

    def _curves(self, entries: list[dict]) -> list[Lines]:
        curves = []
        for name, key, x in (("steps", "steps", "sampling steps"), ("time", "seconds_per_image", "seconds an image")):
            series = {}
            for method, solver in self._series():
                own = [e for e in _of(method, solver, entries) if e[key] is not None]
                for prefix in self.subject.networks:
                    label = f"{_name(method, solver)}, by the {self.subject.classifier(prefix)}"
                    series[label] = ([e[key] for e in own], [100 * e[f"{prefix}agreement"] for e in own])
            if all(x for x, _ in series.values()):
                curves.append(Lines(name, "agreement with the held-out image, %", x, series, log_x=True))
        return curves

    def _verdicts(self, method: str, solver: str, entries: list[dict]) -> list[str]:
        key = f"{self.subject.most_trusted}agreement"
        own, name = _of(method, solver, entries), _name(method, solver)
        best = max(own, key=lambda entry: entry[key])
        # The fewest steps whose agreement is within the best one's confidence interval.
        enough = next(entry for entry in own if entry[key] >= best[f"{key}_interval"][0])
        return [
            f"{name}: best with {best['steps']} steps, {100 * best[key]:.1f} % by the {self.subject.judged_by}; "
            f"{enough['steps']} are within its confidence interval ({100 * enough[key]:.1f} %).",
            *(f"{name}, {entry['steps']} steps: {said}" for entry in own if (said := self.subject.verdict(entry))),
        ]


def _name(*words: str | int) -> str:
    return "_".join(str(word) for word in words if word != "")


def _of(method: str, solver: str, entries: list[dict]) -> list[dict]:
    return [entry for entry in entries if (entry["guidance"], entry.get("solver", "")) == (method, solver)]
