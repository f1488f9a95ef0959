"""Agreement against the number of sampling steps, and the time they take."""

from collections.abc import Mapping, Sequence

from spnn.errors import InputError
from spnn.evaluation.findings import Findings, Lines
from spnn.evaluation.study import Request, Samples, Study
from spnn.evaluation.subject import means

__all__ = ["Steps"]

_COLUMNS = {
    "guidance": "guidance",
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
    """Reconstruction with fewer and more steps of the sampler, from the same noise.

    Arguments:
        steps: How many levels of noise are visited.
    """

    name = "steps"

    def __init__(self, steps: Sequence[int] = (5, 10, 20, 50, 100, 200)):
        if not steps:
            raise InputError("study.steps must name numbers of steps, e.g. [10, 100].")
        self.steps = sorted(set(steps))

    def requests(self) -> dict[str, Request]:
        y, names, seeds = self.subject.y, self.subject.names, self.seeds().squeeze(1)
        requests = {
            f"{method}_{steps}": Request(guidance, names, seeds, y, sampler=self.sampler(steps=steps))
            for method, guidance in self.methods().items()
            for steps in self.steps
        }
        if not requests:
            raise InputError("`methods` names no guidance to sample with.")
        return requests

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries = []
        for method in self.methods():
            for steps in self.steps:
                found = samples[f"{method}_{steps}"]
                values = self.subject.compare(self.subject.decoded(self.subject.views(found.images)))
                per_image = None if found.seconds is None else found.seconds / len(found.images)
                entry = {"guidance": method, "steps": steps, **means(values), "seconds_per_image": per_image}
                entries.append(entry | self.subject.realism(found.images))
        count = len(self.subject.names)
        title = f"Sampling steps: {count} held-out images from y"
        compared = (
            f"The same {count} held-out images are reconstructed from their outputs with different "
            "numbers of steps, from the same noise, and compared as in the study of reconstruction. The time is that "
            "of the whole sampling on this machine, in batches, its start included; it is left out where an "
            "interrupted evaluation went on."
        )
        verdicts = [sentence for method in self.methods() for sentence in self._verdicts(method, entries)]
        return self.findings(title, compared, _COLUMNS, entries, verdicts, self._curves(entries))

    def _curves(self, entries: list[dict]) -> list[Lines]:
        curves = []
        for name, key, x in (("steps", "steps", "sampling steps"), ("time", "seconds_per_image", "seconds an image")):
            series = {}
            for method in self.methods():
                own = [e for e in entries if e["guidance"] == method and e[key] is not None]
                for prefix in self.subject.networks:
                    label = f"{method}, by the {self.subject.classifier(prefix)}"
                    series[label] = ([e[key] for e in own], [100 * e[f"{prefix}agreement"] for e in own])
            if all(x for x, _ in series.values()):
                curves.append(Lines(name, "agreement with the held-out image, %", x, series, log_x=True))
        return curves

    def _verdicts(self, method: str, entries: list[dict]) -> list[str]:
        key = f"{self.subject.most_trusted}agreement"
        own = [entry for entry in entries if entry["guidance"] == method]
        best = max(own, key=lambda entry: entry[key])
        # The fewest steps that the best one's confidence interval holds.
        enough = next(entry for entry in own if entry[key] >= best[f"{key}_interval"][0])
        return [
            f"{method}: best with {best['steps']} steps, {100 * best[key]:.1f} % by the {self.subject.judged_by}; "
            f"{enough['steps']} are within its confidence interval ({100 * enough[key]:.1f} %).",
            *(f"{method}, {entry['steps']} steps: {said}" for entry in own if (said := self.subject.verdict(entry))),
        ]
