"""The arena: guidances against each other on the same edits, with equal effort."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from spnn.diffusion.sampler import Sampler
from spnn.errors import InputError
from spnn.evaluation.effort import Effort, effort
from spnn.evaluation.findings import Findings, Lines, Pictures, Table, with_values
from spnn.evaluation.studies.edit import Edit, mean
from spnn.evaluation.study import Request, Samples
from spnn.metrics import faults
from spnn.outputs import outputs_of

__all__ = ["Arena"]

_SAMPLERS = {"resample": {"eta": 0.0}}
_TRIED = (10, 20)  # steps, between which and beyond the effort grows in a line


class Arena(Edit):
    """Guidances against each other on edits as of :class:`~spnn.evaluation.studies.Edit`, all from the same noise.

    Each method has the same budget: evaluations of the prior for an image. How many steps of the sampler that makes
    depends on what a step costs, and a chain besides. Gradients through the prior are counted apart; each takes about
    two evaluations more. With several budgets, methods are compared after the same time, too, in between.

    An edit *takes whole* if it takes, and its picture is not burnt or mottled by what pictures may have
    (:func:`~spnn.metrics.faults`). Choose a method's options by that, on the validation split (``split=val``), so that
    the test images are seen once.

    Arguments:
        budgets: Evaluations of the prior for an image: one number or several.
        methods: Which of the config's are compared; None for all.
        others: What becomes of the other outputs: keep, likely, follow, or a share of following.
        samplers: Method to options of the sampler that it is meant for; None for ``{resample: {eta: 0}}``.
        **options: See :class:`~spnn.evaluation.studies.Edit`.
    """

    name = "arena"

    def __init__(
        self,
        budgets: Sequence[int] = (50, 100),
        methods: Sequence[str] | None = None,
        others: float | str = "follow",
        samplers: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ):
        if not budgets or any(isinstance(one, bool) or not isinstance(one, int) or one < 1 for one in budgets):
            raise InputError(f"study.budgets are whole numbers of at least 1, such as [50, 100], got {budgets!r}.")
        if "starts" in options:
            raise InputError("study=arena draws from noise, without study.starts: study=edit starts from images.")
        super().__init__(others=[others], **options)
        self.budgets, self.only = sorted(set(budgets)), methods
        self.samplers = _SAMPLERS if samplers is None else samplers

    def requests(self) -> dict[str, Request]:
        only = self.guidances if self.only is None else self.only
        if unknown := [name for name in only if name not in self.guidances]:
            raise InputError(f"study.methods names {unknown}; `methods` has {', '.join(self.guidances)}.")
        if not only:
            raise InputError("`methods` names no guidance to compare.")
        if self.config.sampler.get("start") is not None:
            raise InputError("study=arena draws from noise: leave sampler.start=null. study=edit starts from images.")
        names, seeds = self._choose(), self.seeds().squeeze(1)[self.images]
        (share,) = self.shares.values()
        y, free = self._targets(share)
        self.y, self.efforts, requests = y, {}, {}
        for name in only:
            guidance, shared = self.guidances[name], {"names": names, "seeds": seeds, "y": y, "free": free}
            tried = (self._effort(name, steps) for steps in _TRIED)
            # Evaluations and gradients: besides the steps, and of each.
            lines = [_line(*pair) for pair in zip(*map(astuple, tried), strict=True)]
            for budget in self.budgets:
                steps = self._steps(budget, name, *lines[0])
                costs = Effort(*(round(besides + each * steps) for besides, each in lines))
                self.efforts[name, budget] = steps, costs
                requests[f"{name}_{budget}"] = Request(guidance, **shared, sampler=self._sampler(name, steps))
        return requests

    def _sampler(self, name: str, steps: int) -> Sampler:
        return self.sampler(**self.samplers.get(name) or {}, steps=steps)

    def _effort(self, name: str, steps: int) -> Effort:
        return effort(self.subject.models, self._sampler(name, steps), self.guidances[name], self.y[:1])

    def _steps(self, budget: int, name: str, besides: float, each: float) -> int:
        """The most steps that a budget allows, of so many evaluations each, and some besides."""
        steps = math.floor((budget - besides) / each)
        if steps < 1:
            raise InputError(
                f"study.budgets={self.budgets} are too small for {name}, which asks the prior {each:g} times in a step "
                f"and {besides:g} times besides: raise them, lower its options, or leave it out of study.methods."
            )
        return min(steps, self.subject.models.prior.schedule.num_steps)

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries, rows = [], []
        for (name, budget), (steps, cost) in self.efforts.items():
            found = samples[f"{name}_{budget}"]
            own = self._of_each(found.images)
            entry = {"guidance": name, "budget": budget, "steps": steps, "evaluations": cost.evaluations}
            entry |= {"gradients": cost.gradients} | self._means(own)
            entry |= {key: mean(row[key] for row in own) for key in ("gap", "gap_in_range", "psnr")}
            well = [row["whole"] for row in own if row["well_judged"]]
            entry |= {"whole_success": mean(well)} | self.subject.realism(found.images)
            entry["seconds_per_image"] = None if found.seconds is None else found.seconds / len(found.images)
            entries.append(entry)
            rows += [{"guidance": name, "budget": budget} | row for row in own]
        title = f"The arena: {len(self.made)} edits of {len({flip.image for flip in self.made})} held-out images"
        parts = [*self._tables(entries), *self._curves(entries), self._picture(samples)]
        parts.append(Table("edits", "Each edit", {}, rows))
        return Findings(title, self._compared(), entries, self._verdicts(entries), parts)

    def _of_each(self, images: Tensor) -> list[dict[str, Any]]:
        """What became of each edit."""
        subject, given = self.subject, self.subject.images[self.images]
        after, before = (subject.decoded(views) for views in (subject.views(images), subject.seen))
        rows = self._rows(images, after, before)
        gaps = {
            name: (outputs_of(subject.models.operator, x) - self.y).abs().mean(1)
            for name, x in (("gap", images), ("gap_in_range", images.clamp(-1, 1)))
        }
        likeness = peak_signal_noise_ratio(images, given, data_range=(-1.0, 1.0), dim=(1, 2, 3), reduction="none")
        of_given = subject.wholeness_of_each(given)
        for m, row in enumerate(rows):
            real = {key: max(values[m].item(), subject.wholeness_of_real[key]) for key, values in of_given.items()}
            broken = any(fault.broken for fault in faults(row, real))
            took = row[f"{subject.most_trusted}took"]
            row |= {"whole": took and not broken, "psnr": likeness[m].item()}
            row |= {name: gap[m].item() for name, gap in gaps.items()}
        return rows

    def _tables(self, entries: list[dict]) -> list[Table]:
        """One for each budget, the largest first, and one for equal time."""
        tables, columns = [], self._columns()
        for budget in reversed(self.budgets):
            own = [entry for entry in entries if entry["budget"] == budget]
            name = "table" if budget == self.budgets[-1] else f"table_{budget}"
            title = f"At most {budget} evaluations of the prior for an image"
            tables.append(Table(name, title, with_values(columns, own), own))
        timed = self._at_equal_time(entries)
        return [*tables, timed] if timed else tables

    def _columns(self) -> dict[str, str]:
        prefix = self.subject.most_trusted
        by = "judge: " if prefix else ""
        return {
            "guidance": "guidance",
            "steps": "steps",
            "evaluations": "evaluations",
            "gradients": "gradients through it",
            f"{prefix}edit_success": f"{by}take %",
            f"{prefix}edit_success_interval": "95 % CI, %",
            "whole_success": "take whole %",
            f"{prefix}side_effects": "others change",
            "psnr": "PSNR",
            "saturated": "black or white %",
            "fine_energy_ratio": "fine detail, x real",
            "judge_frechet": "Fréchet",
            "gap": "|g(x) - y|",
            "gap_in_range": "of the picture",
            "seconds_per_image": "s an image",
        }

    def _compared(self) -> str:
        return (
            f"{self._what()} All methods start from the same noise, and may ask the prior as often for an image, the "
            f"budget; gradients through the prior come besides. 'Take' is how often the {self.subject.judged_by} sees "
            "what was set, over what it recognises well; 'take whole', how often it does in a picture that is neither "
            "burnt nor mottled. 'Others change' counts the others in which the sample differs from the held-out image, "
            "of which PSNR is a distance. Fréchet distances are those of the judge's outputs from real images', of "
            "equally many samples. |g(x) - y| is the mean over outputs, and that of the picture, whose values end at "
            "black and white. Seconds are this machine's, in batches; the last table is what methods reach, between "
            "their budgets, in the time that the first one takes for its largest budget, and empty where a method's "
            "smallest budget takes longer."
        )

    def _curves(self, entries: list[dict]) -> list[Lines]:
        """Edits that take, against how unlike real pictures they are, and against the time."""
        key, curves = f"{self.subject.most_trusted}edit_success", []
        for name, of, title in (
            ("pareto", "judge_frechet", "Fréchet distance of the judge's outputs from real images'"),
            ("time", "seconds_per_image", "seconds an image"),
        ):
            known = [entry for entry in entries if None not in (entry.get(of), entry[key])]
            series = {
                method: ([e[of] for e in own], [100 * e[key] for e in own])
                for method in dict.fromkeys(entry["guidance"] for entry in known)
                if (own := [entry for entry in known if entry["guidance"] == method])
            }
            if series:
                curves.append(Lines(name, "edits that take, %", title, series))
        return curves

    def _at_equal_time(self, entries: list[dict]) -> Table | None:
        """What methods reach in the time that the first one takes for its largest budget, by interpolation between
        their own budgets; nothing where that is less than their smallest one's."""
        by_method: dict[str, list[dict]] = {}
        for entry in entries:
            by_method.setdefault(entry["guidance"], []).append(entry)
        if len(self.budgets) < 2 or len(by_method) < 2 or any(e["seconds_per_image"] is None for e in entries):
            return None
        time, rows = next(iter(by_method.values()))[-1]["seconds_per_image"], []
        keys = {f"{self.subject.most_trusted}edit_success": "take %", "whole_success": "take whole %"}
        for method, own in by_method.items():
            times = [entry["seconds_per_image"] for entry in own]
            rows.append({"guidance": method} | {key: _between(times, [e[key] for e in own], time) for key in keys})
        return Table("equal_time", f"After {time:.2g} s an image", {"guidance": "guidance", **keys}, rows)

    def _picture(self, samples: Mapping[str, Samples]) -> Pictures:
        chosen, budget = self._shown(), self.budgets[-1]
        rows = {"held-out": self.subject.images[self.images[chosen]]}
        rows |= {name: samples[f"{name}_{budget}"].images[chosen] for name, own in self.efforts if own == budget}
        captions = [self._caption(m) for m in chosen]
        return Pictures("grid", f"The same edits by each method, of {budget} evaluations of the prior", rows, captions)

    def _verdicts(self, entries: list[dict]) -> list[str]:
        own = [entry for entry in entries if entry["budget"] == self.budgets[-1]]
        verdicts = [self._best(own)] if len(own) > 1 else []
        if costly := [f"{entry['guidance']} ({entry['gradients']})" for entry in own if entry["gradients"]]:
            verdicts.append(f"Gradients through the prior come besides: {', '.join(costly)}.")
        if any(entry["seconds_per_image"] is None for entry in entries):
            verdicts.append("Times are left out: samples of an interrupted evaluation are among these.")
        for entry in own:
            if looks := self.subject.verdict(entry):
                verdicts.append(f"{entry['guidance']}: {looks}")
        return verdicts

    def _best(self, entries: list[dict]) -> str:
        """Which methods are best at what; several, where they are equal as shown."""
        prefix, said = self.subject.most_trusted, []
        took = f"{prefix}edit_success"
        for key, what, best, form in (
            (took, f"most edits take, by the {self.subject.judged_by},", max, "{:.1%}"),
            ("whole_success", "most take in whole pictures", max, "{:.1%}"),
            (f"{prefix}side_effects", "fewest others change", min, "{:.1f}"),
            ("gap_in_range", "g(x) of pictures is nearest to y", min, "{:.2g}"),
            ("judge_frechet", "pictures are most like real ones", min, "{:.2g}"),
            ("seconds_per_image", "the quickest one is", min, "{:.2g} s an image"),
        ):
            if all(entry.get(key) is not None for entry in entries):
                value = form.format(best(entry[key] for entry in entries))
                names = [entry["guidance"] for entry in entries if form.format(entry[key]) == value]
                said.append(f"{what} {'' if key == 'seconds_per_image' else 'with '}{' and '.join(names)} ({value})")
        sentence = f"Of at most {self.budgets[-1]} evaluations of the prior: {'; '.join(said)}."
        if all(entry[took] is not None for entry in entries):
            best = max(entries, key=lambda entry: entry[took])
            near = [e["guidance"] for e in entries if e is not best and e[took] >= best[f"{took}_interval"][0]]
            sentence += f" Within the 95 % interval of {best['guidance']}: {', '.join(near)}." if near else ""
        return sentence


def _line(few: int, more: int) -> tuple[float, float]:
    """What is taken besides the steps, and by each of them, if those that were tried took so much."""
    low, high = _TRIED
    each = (more - few) / (high - low)
    return few - low * each, each


def _between(times: list[float], values: list[float | None], time: float) -> float | None:
    """The value at a time, between those that are known; after the last, the last."""
    return None if None in values or time < times[0] else float(np.interp(time, times, values))
