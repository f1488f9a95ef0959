"""Reconstruction from semantics: draw images from nothing but the outputs of held-out ones (the paper's Figure 3)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.evaluation.findings import Bars, Findings, Lines, Pictures, Table, Vectors
from spnn.evaluation.study import Request, Samples, Study
from spnn.evaluation.subject import means
from spnn.metrics import constraint_violation, diversity, inception_distances, pixel_metrics

__all__ = ["Reconstruction"]

_COLUMNS = {
    "guidance": "guidance",
    "agreement": "agree %",
    "balanced_agreement": "bal. %",
    "mae": "MAE",
    "judge_agreement": "judge %",
    "judge_agreement_interval": "95 % CI of it, %",
    "judge_balanced_agreement": "judge bal. %",
    "judge_mae": "judge MAE",
    "judge_label_agreement": "judge, labels %",
    "judge_iou": "judge IoU",
    "judge_map_50": "judge mAP50",
    "diversity": "diversity",
    "judge_frechet": "judge Fréchet",
    "fid": "FID",
    "saturated": "black or white %",
    "fine_energy_ratio": "fine detail, x real",
}


class Reconstruction(Study):
    """Each method draws an image from the outputs of each held-out image, from the same noise.

    Agreement is measured twice, by the network that guided the sampling and by an independent judge. The targets of
    each are its own predictions on the held-out image; both are also compared with the labels. Results include the
    trivial answer, which is the best without seeing any image, such as what most training images have: on rare labels
    it is hard to beat.

    Arguments:
        trajectory: The number of steps at which the constraint's violation is measured; 0 for none.
        diversity_targets: The number of images for which several samples are drawn, to see how they differ; 0 for none.
        diversity_samples: The number of samples for each of these.
    """

    name = "reconstruction"
    title = "Reconstruction of {count} held-out images from y"

    def __init__(self, trajectory: int = 20, diversity_targets: int = 8, diversity_samples: int = 4):
        if min(trajectory, diversity_targets) < 0 or diversity_samples < 2:
            raise InputError(
                "study.trajectory and study.diversity_targets must be at least 0 and study.diversity_samples at least "
                f"2, got {trajectory}, {diversity_targets} and {diversity_samples}."
            )
        self.trajectory, self.diversity_targets = trajectory, diversity_targets
        self.diversity_samples = diversity_samples

    def requests(self) -> dict[str, Request]:
        methods, subject = self.methods(), self.subject
        trivial = subject.readout.trivial
        if not methods or trivial in methods:
            raise InputError(f"`methods` must name what is compared, none of it {trivial!r}; got {list(methods)}.")
        self.several = min(self.diversity_targets, len(subject.names))
        copies = self.diversity_samples - 1  # besides the first
        seeds = self.seeds(self.diversity_samples)
        self.targets = torch.cat([subject.y, subject.y[: self.several].repeat_interleave(copies, 0)])
        more = [f"{name}_{copy}" for name in subject.names[: self.several] for copy in range(1, copies + 1)]
        every = [*subject.names, *more]
        starts = torch.cat([seeds[:, 0], seeds[: self.several, 1:].flatten()])
        frames = min(self.trajectory, self.sampler().num_steps)
        return {
            name: Request(guidance, every, starts, self.targets, frames=frames) for name, guidance in methods.items()
        }

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        subject, count, trivial = self.subject, len(self.subject.names), self.subject.readout.trivial
        images = {method: found.images[:count] for method, found in samples.items()}
        seen = {method: subject.views(x) for method, x in images.items()}
        decoded = {method: subject.decoded(views) for method, views in seen.items()}
        decoded[trivial] = dict.fromkeys(subject.networks, subject.baseline.expand(count, -1))
        compared = {method: subject.compare(values) for method, values in decoded.items()}
        entries = []
        for method, values in compared.items():
            entry: dict[str, Any] = {"guidance": method, **means(values), **subject.scores(decoded[method])}
            if method != trivial:
                entry |= {**pixel_metrics(images[method]), "seconds": samples[method].seconds}
                if self.several:
                    more = samples[method].images[count:].unflatten(0, (self.several, -1))
                    entry["diversity"] = diversity(torch.cat([images[method][: self.several, None], more], dim=1))
            entries.append(entry)
        verdicts = [self._headline(entries), *self._realism(entries, images)]
        few = min(count, self.config.shown)
        rows = {"held-out\nimage": subject.images[:few], **{method: x[:few] for method, x in images.items()}}
        parts = [
            self._of_each(images, seen),
            *self._by_name(compared),
            *self._violations(samples),
            Pictures("grid", "Held-out images, and samples from their y", rows, subject.names[:few]),
            *([self._vectors(images, seen)] if subject.drawn_by_name else []),
        ]
        return self.findings(self.title.format(count=count), self._compared(), _COLUMNS, entries, verdicts, parts)

    def _compared(self) -> str:
        judged = "by the guiding network itself and by the independent judge, a classifier that guidance never saw"
        if len(self.subject.networks) == 1:
            judged = "by the guiding network itself, an easy judge of its own (the run has no independent one)"
        return (
            f"Each of {len(self.subject.names)} held-out images gives {len(self.subject.readout.names)} outputs y = "
            "g(x), from which each method draws an image, all from the same noise. What a classifier sees in the "
            f"sample is compared with what the same classifier sees in the held-out image, {judged}; and with the "
            f"labels. '{self.subject.readout.trivial}' is the best answer without any image, by the training images. "
            "Intervals are 95 % confidence intervals over images (bootstrap)."
        )

    def _realism(self, entries: list[dict], images: dict[str, Tensor]) -> list[str]:
        """Add to the entries how samples, as sets, look compared with real images; return sentences on the methods
        whose pictures look unlike real ones, and on the figures of real images."""
        real, said = self.subject.real, []
        floor = self.subject.realism(self.subject.images) | self.subject.scores(self.subject.decoded(self.subject.seen))
        several = len(self.subject.names) > 1
        distances = inception_distances(real, self.subject.images, download=self.config.download) if several else None
        floor |= distances or {}
        for entry in entries:
            if entry["guidance"] in images:
                entry |= self.subject.realism(images[entry["guidance"]])
                if distances is not None:
                    entry |= inception_distances(real, images[entry["guidance"]]) or {}
                if looks := self.subject.verdict(entry):
                    said.append(f"{entry['guidance']}: {looks}")
        shown = {"saturated": "share of black or white"}
        shown |= {name: name for name in ("judge_frechet", "judge_iou", "judge_map_50", "fid", "kid")}
        values = ", ".join(f"{title} {floor[name]:.3g}" for name, title in shown.items() if name in floor)
        return [*said, f"The held-out images themselves, beside {len(real)} other real ones: {values}."]

    def _headline(self, entries: list[dict]) -> str:
        key = f"{self.subject.most_trusted}agreement"
        best = max(entries, key=lambda entry: entry[key])
        low, high = best[f"{key}_interval"]
        if best is entries[-1]:
            return (
                f"By the {self.subject.judged_by}, no method agrees better than the {self.subject.readout.trivial}'s "
                f"answer, {100 * best[key]:.1f} %."
            )
        return (
            f"By the {self.subject.judged_by}, {best['guidance']} agrees best: {100 * best[key]:.1f} % "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}); the {self.subject.readout.trivial}'s answer has "
            f"{100 * entries[-1][key]:.1f} %."
        )

    def _of_each(self, images: dict[str, Tensor], seen: dict[str, dict[str, Tensor]]) -> Table:
        rows = []
        for method, x in images.items():
            right = self.subject.right(seen[method])
            values = {f"{prefix}agreement": mask.double().mean(1) for prefix, mask in right.items()}
            values |= self.subject.wholeness_of_each(x)
            for i, name in enumerate(self.subject.names):
                rows.append({"guidance": method, "image": name, **{key: v[i].item() for key, v in values.items()}})
        return Table("images", "Each image", {}, rows)

    def _by_name(self, compared: dict[str, dict[str, Tensor]]) -> list[Table | Bars]:
        names, prefix, by = self.subject.readout.names, self.subject.most_trusted, self.subject.judged_by
        rows = [
            {"guidance": method, "name": name}
            | {key: value[k].item() for key, value in values.items() if not key.endswith("_interval")}
            for method, values in compared.items()
            for k, name in enumerate(names)
        ]
        parts: list[Table | Bars] = [Table("labels", "Each label", {}, rows)]
        if not self.subject.drawn_by_name:
            return parts
        order = next(iter(compared.values()))[f"{prefix}agreement"].argsort().tolist()
        labels = [names[k] for k in order]
        for metric, title, percent in (
            ("agreement", f"agreement with the held-out image, by the {by}", True),
            ("mae", f"mean absolute error, by the {by}", False),
        ):
            series = {method: values[prefix + metric][order].tolist() for method, values in compared.items()}
            parts.append(Bars(metric, title, labels, series, percent))
        return parts

    def _violations(self, samples: Mapping[str, Samples]) -> list[Lines]:
        sampler, series = self.sampler(), {}
        for method, found in samples.items():
            if found.outputs is not None:
                levels = sampler.levels()
                steps = [levels[place] for place in sampler.evenly_spread(found.outputs.shape[1])]
                series[method] = (steps, constraint_violation(found.outputs, self.targets).tolist())
        title = "mean |g(x̂₀) − y| of the corrected clean image"
        return [Lines("violation", title, "level of noise t (1000 is pure noise)", series)] if series else []

    def _vectors(self, images: dict[str, Tensor], seen: dict[str, dict[str, Tensor]]) -> Vectors:
        few, method = slice(0, 4), next(iter(images))
        prefix, level = self.subject.most_trusted, self.subject.readout.level
        rows = {
            "held-out": (self.subject.images[few], level(self.subject.seen[prefix][few])),
            method: (images[method][few], level(seen[method][prefix][few])),
        }
        title = f"What is in the images, as the {self.subject.judged_by} sees them"
        return Vectors("vectors", title, rows, self.subject.readout.names)
