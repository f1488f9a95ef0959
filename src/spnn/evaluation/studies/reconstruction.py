"""Reconstruction from semantics: images drawn from nothing but the outputs of held-out ones (the paper's Figure 3)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.evaluation.findings import Bars, Findings, Lines, Pictures, Table, Vectors
from spnn.evaluation.study import Request, Samples, Study
from spnn.evaluation.subject import means
from spnn.metrics import ConstraintViolation, Diversity, inception_distances, pixel_metrics

__all__ = ["Reconstruction"]

_METRICS = ("agreement", "balanced_agreement", "mae")


class Reconstruction(Study):
    """Each method draws an image for each held-out image's outputs, from the same noise.

    Agreement is measured twice, by the network that guided the sampling and by an independent judge. Each one's targets
    are its own predictions on the held-out image; both are compared with the labels, too. Beside the methods stands the
    trivial answer, the best without any image, such as what most training images have: on rare attributes it is hard to
    beat.

    Arguments:
        trajectory: At how many steps the constraint's violation is measured; 0: not at all.
        diversity_targets: Of how many images several samples are drawn, to see how they differ; 0: of none.
        diversity_samples: How many of each.
    """

    name = "reconstruction"

    def __init__(self, trajectory: int = 20, diversity_targets: int = 8, diversity_samples: int = 4):
        if min(trajectory, diversity_targets) < 0 or diversity_samples < 2:
            raise InputError(
                "study.trajectory and study.diversity_targets must be at least 0 and study.diversity_samples at least "
                f"2, got {trajectory}, {diversity_targets} and {diversity_samples}."
            )
        self.trajectory, self.diversity_targets = trajectory, diversity_targets
        self.diversity_samples = diversity_samples

    def requests(self) -> dict[str, Request]:
        methods = self.methods()
        trivial = self.subject.readout.trivial
        if not methods or trivial in methods:
            raise InputError(f"`methods` must name what is compared, none of it {trivial!r}; got {list(methods)}.")
        names, y = self.subject.names, self.subject.y
        several = self._targets()
        seeds = self.seeds(self.diversity_samples)
        more = [f"{name}_{copy}" for name in names[:several] for copy in range(1, self.diversity_samples)]
        rows = {
            "names": [*names, *more],
            "seeds": torch.cat([seeds[:, 0], seeds[:several, 1:].flatten()]),
            "y": torch.cat([y, y[:several].repeat_interleave(self.diversity_samples - 1, 0)]),
        }
        return {
            name: Request(guidance, frames=min(self.trajectory, self.sampler().num_steps), **rows)
            for name, guidance in methods.items()
        }

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        subject, count = self.subject, len(self.subject.names)
        images = {method: found.images[:count] for method, found in samples.items()}
        readout = subject.readout
        seen = {method: subject.views(x) for method, x in images.items()}
        compared = {
            method: subject.compare({prefix: readout.decode(y) for prefix, y in views.items()})
            for method, views in seen.items()
        }
        compared[readout.trivial] = subject.compare(dict.fromkeys(subject.networks, subject.baseline.expand(count, -1)))
        entries = []
        for method, values in compared.items():
            entry = {"guidance": method, **means(values)}
            if method != readout.trivial:
                entry |= pixel_metrics(images[method]) | {"seconds": samples[method].seconds}
                entry |= self._diversity(samples[method].images)
            entries.append(entry)
        verdicts = [self._headline(entries)]
        verdicts += self._realism(entries, images)
        parts = [
            self._table(entries),
            self._of_each(images, seen),
            *self._by_attribute(compared),
            *self._violations(samples),
        ]
        few = min(count, self.config.shown)
        rows = {"held-out\nimage": subject.images[:few], **{method: x[:few] for method, x in images.items()}}
        parts.append(Pictures("grid", "Held-out images, and samples from their attributes", rows, subject.names[:few]))
        parts.append(self._vectors(images, seen))
        return Findings(self._title(), self._compared(), entries, verdicts, parts)

    def _title(self) -> str:
        return f"Reconstruction of {len(self.subject.names)} held-out images from their attributes"

    def _compared(self) -> str:
        judged = "by the guiding network itself and by the independent judge, a classifier that guidance never saw"
        if len(self.subject.networks) == 1:
            judged = "by the guiding network itself, an easy judge of its own (the run has no independent one)"
        return (
            f"Each of {len(self.subject.names)} held-out images gives {len(self.subject.attributes)} outputs y = g(x), "
            "from which each method draws an image, all from the same noise. What a classifier sees in the sample is "
            f"compared with what the same classifier sees in the held-out image, {judged}; and with the labels. "
            f"'{self.subject.readout.trivial}' is the best answer without any image, by the training images. Intervals "
            "are 95 % confidence intervals over images (bootstrap)."
        )

    def _targets(self) -> int:
        return min(self.diversity_targets, len(self.subject.names))

    def _diversity(self, images: Tensor) -> dict[str, float]:
        several = self._targets()
        if several == 0:
            return {}
        count = len(self.subject.names)
        more = images[count:].unflatten(0, (several, self.diversity_samples - 1))
        metric = Diversity()
        metric.update(torch.cat([images[:several, None], more], dim=1))
        return {"diversity": metric.compute().item()}

    def _realism(self, entries: list[dict], images: dict[str, Tensor]) -> list[str]:
        """Add how samples look, as sets, beside real images, to the entries; say what real ones have, and whose
        pictures can be told from them."""
        real, said = self.subject.real, []
        floor = self.subject.realism(self.subject.images)
        several = len(self.subject.names) > 1
        distances = inception_distances(real, self.subject.images, download=self.config.download) if several else None
        floor |= distances or {}
        for entry in entries:
            if entry["guidance"] in images:
                entry |= self.subject.realism(images[entry["guidance"]])
                if distances is not None:
                    entry |= inception_distances(real, images[entry["guidance"]])
                if looks := self.subject.verdict(entry):
                    said.append(f"{entry['guidance']}: {looks}")
        shown = {"saturated": "share of black or white", "judge_frechet": "judge_frechet", "fid": "fid", "kid": "kid"}
        values = ", ".join(f"{title} {floor[name]:.3g}" for name, title in shown.items() if name in floor)
        return [*said, f"The held-out images themselves, beside {len(real)} other real ones: {values}."]

    def _headline(self, entries: list[dict]) -> str:
        prefix = self.subject.most_trusted
        by = f"the {self.subject.classifier(prefix)}"
        best = max(entries, key=lambda entry: entry[f"{prefix}agreement"])
        low, high = best[f"{prefix}agreement_interval"]
        return (
            f"By {by}, {best['guidance']} agrees best: {100 * best[f'{prefix}agreement']:.1f} % "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}); the {self.subject.readout.trivial}'s answer has "
            f"{100 * entries[-1][f'{prefix}agreement']:.1f} %."
        )

    def _table(self, entries: list[dict]) -> Table:
        columns = {
            "guidance": "guidance",
            "agreement": "agree %",
            "balanced_agreement": "bal. %",
            "mae": "MAE",
            "judge_agreement": "judge %",
            "judge_agreement_interval": "95 % CI of it, %",
            "judge_balanced_agreement": "judge bal. %",
            "judge_mae": "judge MAE",
            "judge_label_agreement": "judge, labels %",
            "diversity": "diversity",
            "judge_frechet": "judge Fréchet",
            "fid": "FID",
            "saturated": "black or white %",
            "fine_energy_ratio": "fine detail, x real",
        }
        shown = {key: title for key, title in columns.items() if any(key in entry for entry in entries)}
        return Table("table", self._title(), shown, entries)

    def _of_each(self, images: dict[str, Tensor], seen: dict[str, dict[str, Tensor]]) -> Table:
        rows = []
        for method, x in images.items():
            whole = self.subject.wholeness_of_each(x)
            agree = {prefix: mask.double().mean(1) for prefix, mask in self.subject.right(seen[method]).items()}
            for i, name in enumerate(self.subject.names):
                row = {f"{prefix}agreement": values[i].item() for prefix, values in agree.items()}
                rows.append(
                    {"guidance": method, "image": name, **row, **{key: v[i].item() for key, v in whole.items()}}
                )
        return Table("images", "Each image", {}, rows)

    def _by_attribute(self, compared: dict[str, dict[str, Tensor]]) -> list[Table | Bars]:
        names = self.subject.attributes
        keys = [key for key, value in compared[self.subject.readout.trivial].items() if not key.endswith("_interval")]
        rows = [
            {"guidance": method, "attribute": name, **{key: values[key][k].item() for key in keys}}
            for method, values in compared.items()
            for k, name in enumerate(names)
        ]
        parts: list[Table | Bars] = [Table("attributes", "Each attribute", {}, rows)]
        prefix = self.subject.most_trusted
        by = self.subject.classifier(prefix)
        first = next(iter(compared))
        order = compared[first][f"{prefix}agreement"].argsort().tolist()
        labels = [names[k] for k in order]
        for metric, title, percent in (
            ("agreement", f"agreement with the held-out image, by the {by}", True),
            ("mae", f"mean absolute error, by the {by}", False),
        ):
            series = {m: [values[prefix + metric][k].item() for k in order] for m, values in compared.items()}
            parts.append(Bars(metric, title, labels, series, percent))
        return parts

    def _violations(self, samples: Mapping[str, Samples]) -> list[Lines]:
        sampler = self.sampler()
        levels = sampler.levels()
        series = {}
        for method, found in samples.items():
            if found.outputs is not None:
                wanted = torch.cat([self.subject.y, self._more_targets()])
                metric = ConstraintViolation(found.outputs.shape[1])
                metric.update(found.outputs, wanted)
                steps = [levels[place] for place in sampler.evenly_spread(found.outputs.shape[1])]
                series[method] = (steps, metric.compute().tolist())
        title = "mean |g(x̂₀) − y| of the corrected clean image"
        return [Lines("violation", title, "level of noise t (1000 is pure noise)", series)] if series else []

    def _more_targets(self) -> Tensor:
        return self.subject.y[: self._targets()].repeat_interleave(self.diversity_samples - 1, 0)

    def _vectors(self, images: dict[str, Tensor], seen: dict[str, dict[str, Tensor]]) -> Vectors:
        few = slice(0, min(4, len(self.subject.names)))
        prefix, decode = self.subject.most_trusted, self.subject.readout.decode
        rows = {"held-out": (self.subject.images[few], decode(self.subject.seen[prefix][few]))}
        method = next(iter(images))
        rows[method] = (images[method][few], decode(seen[method][prefix][few]))
        by = self.subject.classifier(prefix)
        return Vectors("vectors", f"Images and their attributes, as the {by} sees them", rows, self.subject.attributes)
