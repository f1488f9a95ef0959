"""Editing: each attribute set to each value, one at a time (the paper's Figure 4); what takes, what else changes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from spnn.errors import InputError
from spnn.evaluation.findings import Bars, Findings, Matrix, Pictures, Table
from spnn.evaluation.study import Request, Samples, Study
from spnn.metrics import EditEffects
from spnn.sampling.targets import as_logit, attribute_index

__all__ = ["Edit"]

_UNEDITED = "unedited"


class Edit(Study):
    """Of each held-out image, one logit is set and the others are kept; an image is drawn from them. The same images
    drawn without any edit, from the same noise, tell which changes are the edit's.

    Arguments:
        values: What each attribute is set to: logits, or probabilities such as "98%".
        attributes: Which are set, by name; None for all.
        shown: Which are shown in pictures, by name; None for eight of them.
    """

    name = "edit"

    def __init__(
        self,
        values: Sequence[float | str] = (-18, 18),
        attributes: Sequence[str] | None = None,
        shown: Sequence[str] | None = None,
    ):
        self.values = [as_logit("study.values", value) for value in values]
        if not self.values or 0 in self.values:
            raise InputError(f"study.values must be logits that say yes or no, not 0; got {list(values)}.")
        self.attributes, self.shown = attributes, shown

    def requests(self) -> dict[str, Request]:
        names = self.subject.attributes
        self.edited = [attribute_index(name, names) for name in (self.attributes or names)]
        of_pictures = self.shown or [names[k] for k in self.edited[:: -(-len(self.edited) // 8)]]
        self.pictured = [self.edited.index(attribute_index(name, names)) for name in of_pictures]
        self.settings = [(k, value) for k in self.edited for value in self.values]
        count = len(self.subject.names)
        y = self.subject.y.repeat(len(self.settings), 1).unflatten(0, (-1, count))  # [S, N, K]
        for setting, (k, value) in enumerate(self.settings):
            y[setting, :, k] = value
        seeds = self.seeds().squeeze(1)
        requests = {}
        for method, guidance in self.methods().items():
            labels = [f"{names[k]}_{value:+g}_{name}" for k, value in self.settings for name in self.subject.names]
            requests[method] = Request(guidance, labels, seeds.repeat(len(self.settings)), y.flatten(0, 1))
            requests[f"{method}_{_UNEDITED}"] = Request(guidance, self.subject.names, seeds, self.subject.y)
        if not requests:
            raise InputError("`methods` names no guidance to edit with.")
        return requests

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries, rows, bars, parts = [], [], {}, []
        for method in self.methods():
            effects = self._effects(samples[method].images)
            unedited = self.subject.logits(samples[f"{method}_{_UNEDITED}"].images)
            entry, chance = {"guidance": method}, {}
            for prefix, found in effects.items():
                differ = (unedited[prefix] > 0) != (self.subject.seen[prefix] > 0)  # [N, K]
                chance[prefix] = differ.double().mean(0)
                entry |= {
                    f"{prefix}edit_success": found["success"].mean().item(),
                    f"{prefix}edit_flipped": found["flipped"].nanmean().item(),
                    f"{prefix}side_effects": found["side_effects"].mean().item(),
                    f"{prefix}unedited_changes": _others(differ, self.edited).item(),
                }
            entries.append(entry)
            for setting, (k, value) in enumerate(self.settings):
                row = {"guidance": method, "attribute": self.subject.attributes[k], "logit": value}
                for prefix, found in effects.items():
                    for name in ("success", "flipped", "side_effects"):
                        row[prefix + name] = found[name][setting].item()
                rows.append(row)
            for value in self.values:
                at = [s for s, (_, v) in enumerate(self.settings) if v == value]
                key = f"{method}: set to {value:+g}"
                bars[key] = effects[self.subject.most_trusted]["success"][at].tolist()
            parts += [self._side_effects(method, effects, chance), self._pictures(method, samples)]
        labels = [self.subject.attributes[k] for k in self.edited]
        by = self.subject.classifier(self.subject.most_trusted)
        chart = Bars("success", f"samples that have what was set, by the {by}", labels, bars)
        table = Table("table", self._title(), self._columns(), entries)
        settings = Table("settings", "Each setting", {}, rows)
        return Findings(
            self._title(), self._compared(), entries, self._verdicts(entries, rows), [table, settings, chart, *parts]
        )

    def _title(self) -> str:
        return f"Editing: {len(self.settings)} edits of {len(self.subject.names)} held-out images"

    def _compared(self) -> str:
        values = " and ".join(f"{value:+g}" for value in self.values)
        return (
            f"Each of {len(self.edited)} attributes is set to the logits {values}, one at a time, in the logits of "
            f"{len(self.subject.names)} held-out images; the others are kept, and an image is drawn from noise. "
            "'Success' is how often the sample has the attribute if and only if it was set so; 'flipped' is the same "
            "among those images that were otherwise before. 'Others changed' counts the other attributes in which the "
            "sample differs from the held-out image; 'unedited', how many differ when nothing was set: those are not "
            "the edit's."
        )

    def _columns(self) -> dict[str, str]:
        columns = {"guidance": "guidance"}
        for prefix, by in (("", ""), ("judge_", "judge: ")):
            if prefix in self.subject.networks:
                columns |= {
                    f"{prefix}edit_success": f"{by}success %",
                    f"{prefix}edit_flipped": f"{by}flipped %",
                    f"{prefix}side_effects": f"{by}others changed",
                    f"{prefix}unedited_changes": f"{by}unedited",
                }
        return columns

    def _effects(self, images: Tensor) -> dict[str, dict[str, Tensor]]:
        """Effects by each classifier, see :class:`~spnn.metrics.EditEffects`."""
        count = len(self.subject.names)
        setting = torch.arange(len(self.settings)).repeat_interleave(count)
        attribute = torch.tensor([k for k, _ in self.settings]).repeat_interleave(count)
        on = torch.tensor([value > 0 for _, value in self.settings]).repeat_interleave(count)
        effects = {}
        for prefix, y in self.subject.logits(images).items():
            metric = EditEffects(len(self.settings), len(self.subject.attributes))
            before = (self.subject.seen[prefix] > 0).repeat(len(self.settings), 1)
            metric.update(setting, attribute, on, before, y > 0)
            effects[prefix] = metric.compute()
        return effects

    def _verdicts(self, entries: list[dict], rows: list[dict]) -> list[str]:
        prefix = self.subject.most_trusted
        by = f"the {self.subject.classifier(prefix)}"
        said = []
        for entry in entries:
            own = [row for row in rows if row["guidance"] == entry["guidance"]]
            worst = sorted(own, key=lambda row: row[f"{prefix}success"])[:3]
            named = ", ".join(
                f"{row['attribute']} {row['logit']:+g} ({100 * row[f'{prefix}success']:.0f} %)" for row in worst
            )
            said.append(
                f"{entry['guidance']}: {100 * entry[f'{prefix}edit_success']:.1f} % of edits take, by {by}, and "
                f"{100 * entry[f'{prefix}edit_flipped']:.1f} % where the image was otherwise before; "
                f"{entry[f'{prefix}side_effects']:.1f} other attributes change, "
                f"{entry[f'{prefix}unedited_changes']:.1f} without any edit. Hardest: {named}."
            )
        return said

    def _side_effects(self, method: str, effects: dict[str, dict[str, Tensor]], chance: dict[str, Tensor]) -> Matrix:
        """How much more often each attribute changes with an edit than without any."""
        prefix = self.subject.most_trusted
        changed = effects[prefix]["changed"].unflatten(0, (len(self.edited), len(self.values))).mean(1)
        excess = changed - chance[prefix]
        excess[torch.arange(len(self.edited)), self.edited] = torch.nan  # the edit itself
        title = f"{method}: attributes (columns) that change with an edit (rows) beyond those that change without, %"
        labels = [self.subject.attributes[k] for k in self.edited]
        values = [[None if value != value else value for value in row] for row in excess.tolist()]
        return Matrix(f"side_effects_{method}", title, labels, self.subject.attributes, values)

    def _pictures(self, method: str, samples: Mapping[str, Samples]) -> Pictures:
        count = len(self.subject.names)
        of = [place % count for place in range(len(self.pictured))]  # another image for each
        by_setting = samples[method].images.unflatten(0, (len(self.edited), len(self.values), count))
        rows = {"held-out": self.subject.images[of], "not edited": samples[f"{method}_{_UNEDITED}"].images[of]}
        for v, value in enumerate(self.values):
            rows[f"set to {value:+g}"] = torch.stack(
                [by_setting[place, v, image] for place, image in zip(self.pictured, of, strict=True)]
            )
        captions = [self.subject.attributes[self.edited[place]].replace("_", " ") for place in self.pictured]
        return Pictures(f"edits_{method}", f"Edits by {method}, one attribute at a time", rows, captions)


def _others(differ: Tensor, edited: list[int]) -> Tensor:
    """How many attributes other than an edited one differ, on average over images and edited attributes."""
    return (differ.sum(1, keepdim=True) - differ[:, edited].long()).double().mean()
