"""The arena: compare guidances on the same edits, at equal effort."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from spnn.errors import InputError, counted
from spnn.evaluation.contest import Contest, best, curves, within_interval
from spnn.evaluation.findings import Findings, Lines, Part, Pictures, Table
from spnn.evaluation.studies.edit import Edit, mean
from spnn.evaluation.study import Request, Samples
from spnn.metrics import faults, measurement_metrics, psnr
from spnn.outputs import outputs_of

__all__ = ["Arena"]


class Arena(Edit):
    """Compares guidances on edits like those of :class:`~spnn.evaluation.studies.Edit`, all from the same noise.

    Each method has the same budget, see :class:`~spnn.evaluation.contest.Contest`. With several budgets, methods are
    also compared at equal time, by interpolation between their budgets.

    An edit *takes whole* if it takes and its picture is neither burnt nor mottled, by the limits of
    :func:`~spnn.metrics.faults`. Choose a method's options by that measure, on the validation split (``split=val``), so
    that the test images are seen only once.

    Arguments:
        budgets, methods, samplers: See :class:`~spnn.evaluation.contest.Contest`.
        others: What happens to the other outputs: keep, likely, follow, or a share of following.
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
        if "starts" in options:
            raise InputError("study=arena draws from noise, without study.starts: study=edit starts from images.")
        super().__init__(others=[others], **options)
        self.contest = Contest(budgets, methods, samplers)

    def requests(self) -> dict[str, Request]:
        only = self.contest.names(self)
        names, seeds = self._choose(), self.seeds().squeeze(1)[self.images]
        (share,) = self.shares.values()
        y, free = self._targets(share)
        self.y, self.plans, requests = y, {}, {}
        for name in only:
            guidance = self.guidances[name]
            plans = self.contest.plans(self, name, guidance, self.subject.models, y[:1])
            for budget, plan in plans.items():
                self.plans[name, budget] = plan
                requests[f"{name}_{budget}"] = Request(guidance, names, seeds, y, free, plan.sampler)
        return requests

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries, rows = [], []
        for (name, budget), plan in self.plans.items():
            found = samples[f"{name}_{budget}"]
            own = self._of_each(found.images)
            entry = {"guidance": name, "budget": budget, "steps": plan.steps} | vars(plan.cost) | self._means(own)
            entry |= {key: mean(row[key] for row in own) for key in ("gap", "gap_in_range", "psnr")}
            entry |= self._likeness(found.images)
            well = [row["whole"] for row in own if row["well_judged"]]
            entry |= {"whole_success": mean(well), **self.subject.realism(found.images)}
            entry["seconds_per_image"] = found.seconds_per_image
            entries.append(entry)
            rows += [{"guidance": name, "budget": budget} | row for row in own]
        used = counted(len({flip.image for flip in self.made}), "held-out image")
        title = f"The arena: {counted(len(self.made), 'edit')} of {used}"
        timed = {f"{self.subject.most_trusted}edit_success": "take %", "whole_success": "take whole %"}
        tables = self.contest.tables(entries, self._columns(), timed)
        parts: list[Part] = [*tables, *self._by_setting(rows), *self._curves(entries), self._picture(samples)]
        parts.append(Table("edits", "Each edit", {}, rows))
        return Findings(title, self._compared(), entries, self._verdicts(entries), parts)

    def _likeness(self, images: Tensor) -> dict[str, float]:
        """SSIM, and LPIPS if its network is available, compared with the held-out images."""
        found = measurement_metrics(
            self.y, self.y, images, self.subject.images[self.images], download=self.config.download
        )
        return {name: found[name] for name in ("ssim", "lpips") if name in found}

    def _of_each(self, images: Tensor) -> list[dict[str, Any]]:
        """A row with the figures of each edit."""
        subject, given = self.subject, self.subject.images[self.images]
        after, before = (subject.decoded(views) for views in (subject.views(images), subject.seen))
        rows = self._rows(images, after, before)
        gaps = {
            name: (outputs_of(subject.operator, x) - self.y).abs().mean(1)
            for name, x in (("gap", images), ("gap_in_range", images.clamp(-1, 1)))
        }
        likeness = psnr(images, given)
        of_given = subject.wholeness_of_each(given)
        for m, row in enumerate(rows):
            real = {key: max(values[m].item(), subject.wholeness_of_real[key]) for key, values in of_given.items()}
            broken = any(fault.broken for fault in faults(row, real))
            took = row[f"{subject.most_trusted}took"]
            row |= {"whole": took and not broken, "psnr": likeness[m].item()}
            row |= {name: gap[m].item() for name, gap in gaps.items()}
        return rows

    def _by_setting(self, rows: list[dict]) -> list[Table]:
        """How often each of the settings takes with the largest budget, if ``settings`` were given."""
        if self.settings is None:
            return []
        took = f"{self.subject.most_trusted}took"
        methods: dict[str, dict[str, list[bool]]] = {}
        for row in self.contest.largest(rows):
            methods.setdefault(row["guidance"], {}).setdefault(row["edit"], []).append(row[took])
        table = [{"guidance": name} | {edit: mean(own) for edit, own in of.items()} for name, of in methods.items()]
        edits = {edit: f"{edit.replace('__', ', ').replace('_', ' ')} %" for edit in map(self._label, self.made)}
        return [Table("settings", "Edits that take, of each kind", {"guidance": "guidance", **edits}, table)]

    def _columns(self) -> dict[str, str]:
        prefix = self.subject.most_trusted
        by = "judge: " if prefix else ""
        return {
            "guidance": "guidance",
            "steps": "steps",
            "evaluations": "evaluations",
            "gradients": "gradients through it",
            "kept_mib": "kept for them, MiB",
            f"{prefix}edit_success": f"{by}take %",
            f"{prefix}edit_success_interval": "95 % CI, %",
            "whole_success": "take whole %",
            f"{prefix}side_effects": "others change",
            "psnr": "PSNR",
            "ssim": "SSIM",
            "lpips": "LPIPS",
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
            "which PSNR, SSIM and LPIPS (where its network is on disk) compare it with. Fréchet distances are those of "
            "the judge's outputs from real images', of equally many samples. |g(x) - y| is the mean over outputs, and "
            "that of the picture, whose values end at black and white. Seconds are this machine's, in batches; the "
            "table of equal time is what methods reach, between their budgets, in the time that the first one takes "
            "for its largest budget, and empty where a method's smallest budget takes longer."
        )

    def _curves(self, entries: list[dict]) -> list[Lines]:
        """The share of edits that take, against how unlike real pictures the samples are, and against the time."""
        key, found = f"{self.subject.most_trusted}edit_success", []
        for name, of, title in (
            ("pareto", "judge_frechet", "Fréchet distance of the judge's outputs from real images'"),
            ("time", "seconds_per_image", "seconds an image"),
        ):
            if series := curves(entries, of, key, 100):
                found.append(Lines(name, "edits that take, %", title, series))
        return found

    def _picture(self, samples: Mapping[str, Samples]) -> Pictures:
        chosen, budget = self._shown(), self.contest.budgets[-1]
        rows = {"held-out": self.subject.images[self.images[chosen]]}
        rows |= {name: samples[f"{name}_{budget}"].images[chosen] for name, own in self.plans if own == budget}
        captions = [self._caption(m) for m in chosen]
        return Pictures("grid", f"The same edits by each method, of {budget} evaluations of the prior", rows, captions)

    def _verdicts(self, entries: list[dict]) -> list[str]:
        own = self.contest.largest(entries)
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
        """Which methods are best at what."""
        took, others = (f"{self.subject.most_trusted}{key}" for key in ("edit_success", "side_effects"))
        said = best(
            entries,
            (
                (took, f"most edits take, by the {self.subject.judged_by}, with", max, "{:.1%}"),
                ("whole_success", "most take in whole pictures with", max, "{:.1%}"),
                (others, "fewest others change with", min, "{:.1f}"),
                ("gap_in_range", "g(x) of pictures is nearest to y with", min, "{:.2g}"),
                ("judge_frechet", "pictures are most like real ones with", min, "{:.2g}"),
                ("seconds_per_image", "the quickest one is", min, "{:.2g} s an image"),
            ),
        )
        sentence = f"Of at most {self.contest.budgets[-1]} evaluations of the prior: {said}."
        known = all(entry[took] is not None for entry in entries)
        return sentence + within_interval(entries, took) if known else sentence
