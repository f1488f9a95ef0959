"""Editing: set labels of held-out images to what the images don't show (the paper's Figure 4), and measure which edits
take, what else changes, and whether the pictures stay whole."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from spnn.errors import InputError, counted, some_of
from spnn.evaluation.findings import Bars, Findings, Matrix, Part, Pictures, Table
from spnn.evaluation.study import Request, Samples, Study
from spnn.metrics import ratio_interval
from spnn.readout import Setting
from spnn.sampling.pictures import file_name
from spnn.sampling.targets import beyond_range, set_places, share_of

log = logging.getLogger(__name__)

__all__ = ["Edit", "Flip", "mean"]

_NORMAL = 1.96  # 95 % of a normal distribution lie within this many standard deviations
_UNEDITED = "unedited"
_HARD = "hard_"  # the prefix of figures over labels that the judge doesn't recognise well


@dataclass(frozen=True)
class Flip:
    """One edit of a held-out image: the value that each label, by its coordinate, is set to, and the value as given."""

    image: int
    values: Mapping[int, Setting]
    said: Mapping[int, Setting]


class Edit(Study):
    """Sets one label at a time to what no classifier sees in a held-out image, and draws an image from those outputs.
    The same images are drawn without any edit, from the same noise, to show which changes the edit causes.

    The main figure is the share of edits that take, by the most trusted classifier, over the labels that it
    recognises well; the others are counted separately, as it can't tell whether they took.

    Arguments:
        values: What each label is set to: yes, no, logits, or probabilities such as "98%"; for numbers: low, high, or
            numbers. None for yes and no, low and high, and each class.
        each: The number of images for each label and value, spread over those that show the opposite; fewer if there
            aren't enough.
        others: What happens to the other outputs, one or several to compare: keep, likely, follow, free, or a share
            of following.
        starts: Where sampling starts, one or several to compare: null for noise, or a step such as 600 for the image
            with that step's noise on it; the lower the step, the more of the image is kept.
        quantile: The quantile of the training images that have (or lack) a label, see
            :func:`~spnn.sampling.targets.set_values`.
        names: The labels to set; None for all.
        settings: A list of what to set together, instead of one label at a time: name to yes, no, logit or probability.
        well_judged: The balanced accuracy on real images from which a classifier counts as recognising a label well.
        shown: The names of the labels that the pictures show; None for eight of them.
    """

    name = "edit"

    def __init__(
        self,
        values: Sequence[float | str | bool] | None = None,
        each: int = 4,
        others: Sequence[float | str] = ("follow",),
        starts: Sequence[int | None] = (None,),
        quantile: float = 0.95,
        names: Sequence[str] | None = None,
        settings: Sequence[Mapping[str, float | str | bool]] | None = None,
        well_judged: float = 0.8,
        shown: Sequence[str] | None = None,
    ):
        if isinstance(values, str | int | float) or (values is not None and not values):
            raise InputError(f"study.values must be a list of at least one, such as [no,yes], got {values!r}.")
        self.values = values
        if not isinstance(each, int) or each < 1:
            raise InputError(f"study.each must be a whole number of at least 1, got {each!r}.")
        if isinstance(others, str | float | int) or not others:
            raise InputError(f"study.others must be a list of at least one, such as [follow,keep], got {others!r}.")
        if isinstance(starts, str | int) or not starts:
            raise InputError(f"study.starts must be a list of at least one, such as [null,600], got {starts!r}.")
        if not 0 < quantile < 1:
            raise InputError(f"study.quantile must lie between 0 and 1, got {quantile!r}.")
        if not 0 <= well_judged <= 1:
            raise InputError(f"study.well_judged is a balanced accuracy from 0 to 1, got {well_judged!r}.")
        self.shares = {str(one): None if one == "free" else share_of(one, "study.others") for one in others}
        self.starts = list(dict.fromkeys(starts))
        self.each, self.quantile, self.well_judged = each, quantile, well_judged
        self.names, self.settings, self.shown = names, settings, shown
        if settings is not None and not settings:
            raise InputError("study.settings is empty: a list of {Name: value, ...}, or null for one label at a time.")
        if settings is not None and (names or values):
            raise InputError("study.settings says what is set: leave study.names and study.values out.")

    @cached_property
    def told(self) -> Tensor:
        """Which labels the most trusted classifier recognises well, [K]."""
        return self.subject.balanced_accuracy >= self.well_judged

    def flips(self) -> list[Flip]:
        """The edits to make."""
        readout, flips, shown_by_all = self.subject.readout, [], []
        for said in self._wanted():
            values = self._resolved(said)
            met = [readout.met(y, values).any(1) for y in self.subject.decoded(self.subject.seen).values()]
            images = (~torch.stack(met)).all(0).nonzero().squeeze(1).tolist()
            if not images:
                shown_by_all.append(" and ".join(readout.said(*item) for item in values.items()))
            few = min(self.each, len(images))
            # Start at a different image for each label, because most images show the opposite of every rare label.
            spread = [(j * len(images) // few + min(said)) % len(images) for j in range(few)]
            flips += [Flip(images[place], values, said) for place in sorted(spread)]
        if shown_by_all:
            listed = some_of(shown_by_all, 5)
            log.info("no held-out image shows the opposite of %s, so that isn't edited", listed)
        if (
            not flips
            and not self.values
            and not self.settings
            and not any(readout.part(k).flips for k in range(len(readout.names)))
        ):
            raise InputError(
                f"study={self.name} sets one label at a time, but {some_of(readout.names, 5)} are only set together: "
                "say how by study=multi, study.settings=[{...}]."
            )
        if not flips:
            raise InputError("no held-out image shows the opposite of what is set: take more (count=...).")
        return flips

    def _wanted(self) -> list[dict[int, Setting]]:
        """What each kind of edit sets in one image."""
        if self.settings is not None:
            read = [self._read(setting) for setting in self.settings]
            return [setting for i, setting in enumerate(read) if setting not in read[:i]]
        readout, wanted = self.subject.readout, []
        for k in [k for name in self.names or readout.names for k in readout.places(name)]:
            values = [readout.part(k).read(readout.names[k], value) for value in self.values or readout.part(k).flips]
            wanted += [{k: value} for value in dict.fromkeys(values)]
        return wanted

    def _read(self, setting: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        if not setting or not isinstance(setting, Mapping):
            raise InputError(f"study.settings is a list of {{Name: value, ...}}; one of them is {setting!r}.")
        return self.subject.readout.settings(setting)

    def _resolved(self, said: Mapping[int, Setting]) -> dict[int, Setting]:
        return {k: self.resolved(k, value) for k, value in said.items()}

    def resolved(self, place: int, value: Setting) -> Setting:
        """The value that a label is set to; for a number, low and high are replaced by values from training images."""
        if not isinstance(value, bool) or self.subject.readout.part(place).grouped:
            return value
        return self.subject.training_outputs.typical(place, value, self.quantile)

    def is_on(self, place: int, value: Setting) -> bool:
        """Whether a setting means that the label is present; for a number, that it is above the training mean."""
        if isinstance(value, bool):
            return value
        if self.subject.readout.part(place).grouped:
            return value > 0
        return value > self.subject.training_outputs.mean[place].item()

    def _on(self, flip: Flip) -> dict[int, bool]:
        return {k: self.is_on(k, value) for k, value in flip.values.items()}

    def _which(self, flip: Flip) -> Tensor:
        """A mask of the coordinates that an edit sets, [K]."""
        which = torch.zeros(len(self.subject.readout.names), dtype=torch.bool)
        which[[other for k in flip.values for other in self.subject.readout.together(k)]] = True
        return which

    def _choose(self) -> list[str]:
        """Choose the edits, and which of them are shown; return the names of their samples."""
        self.made = self.flips()
        self.images = torch.tensor([flip.image for flip in self.made])
        self.edited = sorted({k for flip in self.made for k in flip.values})
        among = [k for k in self.edited if self.told[k]] or self.edited
        few = min(8, len(among))
        self.pictured = [among[i * len(among) // few] for i in range(few)]
        if self.shown:
            self.pictured = [k for name in self.shown for k in self.subject.readout.places(name) if k in self.edited]
            if not self.pictured:
                names = [self.subject.readout.names[k] for k in self.edited]
                raise InputError(
                    f"study.shown must be among those that are edited, {', '.join(names)}; got {self.shown}."
                )
        names = [file_name(f"{self.subject.names[flip.image]}_{self._label(flip)}") for flip in self.made]
        if len(set(names)) < len(names):  # labels may differ only in characters that file names can't have
            names = [f"{name}_{place}" for place, name in enumerate(names)]
        return names

    def requests(self) -> dict[str, Request]:
        names, seeds, subject, requests = self._choose(), self.seeds().squeeze(1), self.subject, {}
        for method, guidance in self.methods().items():
            for start in self.starts:
                given = None if start is None else subject.images
                sampler = self.sampler(start=start)
                for others, share in self.shares.items():
                    y, free = self._targets(share)
                    requests[_key(method, others, start)] = Request(
                        guidance,
                        names,
                        seeds[self.images],
                        y,
                        free,
                        sampler,
                        images=None if given is None else given[self.images],
                    )
                requests[_key(method, _UNEDITED, start)] = Request(
                    guidance, subject.names, seeds, subject.y, sampler=sampler, images=given
                )
        if not requests:
            raise InputError("`methods` names no guidance to edit with.")
        return requests

    def _targets(self, share: float | Literal["likely"] | None) -> tuple[Tensor, Tensor | None]:
        """The target of each edit, [M, K], and a mask of its free coordinates, [M, K]; None if none are free."""
        outputs, rows, set_ = self.subject.models.training_outputs, [], []
        for flip in self.made:
            y, which = set_places(
                self.subject.y[flip.image][None],
                self.subject.readout,
                flip.values,
                "study.values",
                outputs,
                quantile=self.quantile,
                share=share or 0.0,
            )
            rows.append(y[0])
            set_.append(which)
        y, edited = torch.stack(rows), torch.stack(set_)
        was_set = torch.tensor([[k in flip.values for k in self.edited] for flip in self.made])
        values = y[:, self.edited].masked_fill(~was_set, torch.nan)
        if outputs is not None and (far := beyond_range(values, self.edited, self.subject.readout, outputs)):
            log.warning("study.values are %s", far)
        return y, ~edited if share is None else None

    def conclude(self, samples: Mapping[str, Samples]) -> Findings:
        entries, rows, verdicts = [], [], []
        success: dict[str, list[float | None]] = {}
        parts: list[Part] = []
        for method in self.methods():
            for start, others in product(self.starts, self.shares):
                key, unedited = _key(method, others, start), samples[_key(method, _UNEDITED, start)].images
                images = samples[key].images
                after, before = (self.subject.decoded(self.subject.views(x)) for x in (images, unedited))
                name = f"{method}, others {others}{self._from(start, ', ')}"
                own = self._rows(images, after, before)
                variant = {"guidance": method, "others": others, "start": "noise" if start is None else start}
                found = [variant | entry for entry in self._entries(own, images, unedited)]
                rows += [variant | row for row in own]
                entries += found
                verdicts += [sentence for entry in found for sentence in self._verdict(name, entry)]
                success |= self._success(name, own)
                parts += self._side_effects(key, after, before)
            parts.append(self._pictures(method, samples))
        used = counted(len({flip.image for flip in self.made}), "held-out image")
        title = f"Editing: {counted(len(self.made), 'edit')} of {used} (out of {len(self.subject.names)})"
        shown = [Table("edits", "Each edit", {}, rows), *self._bars(success), *reversed(parts)]
        return self.findings(title, self._compared(), self._columns(), entries, verdicts, shown)

    def _rows(self, images: Tensor, after: dict[str, Tensor], before: dict[str, Tensor]) -> list[dict[str, Any]]:
        """A row with the figures of each edit; ``after`` and ``before`` are each classifier's decoded outputs for the
        samples with and without the edit."""
        whole, given_ = self.subject.wholeness_of_each(images), self.subject.decoded(self.subject.seen)
        rows, readout = [], self.subject.readout
        for m, flip in enumerate(self.made):
            samples = {"side_effects": (after, m), "unedited_changes": (before, flip.image)}
            places, on, rest = list(flip.values), self._on(flip).values(), ~self._which(flip)
            row = {
                "image": self.subject.names[flip.image],
                "edit": self._label(flip),
                "set": len(readout.listed(self._which(flip))),
                "direction": "yes" if all(on) else "both" if any(on) else "no",
                "well_judged": bool(self.told[places].all()),
                "real_share": self._showing(flip).double().mean().item(),
            }
            for prefix, given in given_.items():
                right = readout.met(after[prefix][[m]], flip.values)[0]
                row[f"{prefix}took"] = bool(right.all())
                row[f"{prefix}each"] = right.double().mean().item()
                for name, (decoded, place) in samples.items():
                    others = readout.differs(decoded[prefix][place], given[flip.image]) & rest
                    row[f"{prefix}{name}"] = len(readout.listed(others))
            row["distance"] = (images[m] - self.subject.images[flip.image]).square().mean().sqrt().item()
            rows.append(row | {name: values[m].item() for name, values in whole.items()})
        return rows

    def _showing(self, flip: Flip) -> Tensor:
        """A mask of the real images that show what an edit sets, [R]."""
        readout = self.subject.readout
        return readout.met(readout.decode(self.subject.real_judged), flip.values).all(1)

    def _entries(self, rows: list[dict], images: Tensor, unedited: Tensor) -> list[dict[str, Any]]:
        """The main figures, in one entry."""
        return [self._means(rows) | self._realism(range(len(rows)), images, unedited)]

    def _realism(self, places: Sequence[int], images: Tensor, unedited: Tensor) -> dict[str, float]:
        """How some of the edits look, compared with random real images that show what the edits set."""
        generator, matched = torch.Generator().manual_seed(0), []
        for m in places:
            show = self._showing(self.made[m]).nonzero().squeeze(1)
            if len(show):
                matched.append(int(show[torch.randint(len(show), (), generator=generator)]))
        return self.subject.realism(images[list(places)], unedited, matched)

    def _means(self, rows: list[dict]) -> dict[str, Any]:
        well = [row for row in rows if row["well_judged"]]
        found: dict[str, Any] = {"edits": len(well), "distance": mean(row["distance"] for row in rows)}
        for prefix in self.subject.networks:
            found |= {
                f"{prefix}edit_success": mean(row[f"{prefix}took"] for row in well),
                f"{prefix}edit_success_interval": _interval(well, f"{prefix}took", self.subject.resamples),
                f"{prefix}side_effects": mean(row[f"{prefix}side_effects"] for row in well),
                f"{prefix}unedited_changes": mean(row[f"{prefix}unedited_changes"] for row in well),
                f"{prefix}to_yes": mean(row[f"{prefix}took"] for row in well if row["direction"] == "yes"),
                f"{prefix}to_no": mean(row[f"{prefix}took"] for row in well if row["direction"] == "no"),
                f"{_HARD}{prefix}edit_success": mean(row[f"{prefix}took"] for row in rows if not row["well_judged"]),
            }
        return found

    def _columns(self) -> dict[str, str]:
        prefix = self.subject.most_trusted
        by = "judge: " if prefix else ""
        columns = {
            "guidance": "guidance",
            "others": "others",
            "start": "from",
            "set": "set",
            "edits": "edits",
            f"{prefix}edit_success": f"{by}take %",
            f"{prefix}edit_success_interval": "95 % CI, %",
            f"{prefix}to_yes": f"to {self.subject.readout.poles[1]} %",
            f"{prefix}to_no": f"to {self.subject.readout.poles[0]} %",
            f"{_HARD}{prefix}edit_success": "hard ones %",
            f"{prefix}side_effects": "others change",
            f"{prefix}unedited_changes": "unedited: others change",
            "distance": "distance",
            "saturated": "black or white %",
            "fine_energy_ratio": "fine detail, x real",
            "judge_frechet": "Fréchet",
            "unedited_judge_frechet": "unedited: Fréchet",
            "matched_judge_frechet": "real ones alike",
        }
        if prefix:
            columns["edit_success"] = "g: take %"
        if self.starts == [None]:
            del columns["start"], columns["distance"]
        return columns

    @property
    def _shown_order(self) -> list[int]:
        """The labels that are set; those that are judged well come first."""
        return sorted(self.edited, key=lambda k: (not self.told[k], k))

    def _success(self, name: str, rows: list[dict]) -> dict[str, list[float | None]]:
        """How often the edits of each label take, separately for each direction."""
        took, series = f"{self.subject.most_trusted}took", {}
        for on in (True, False):
            values = [
                mean(row[took] for row, flip in zip(rows, self.made, strict=True) if self._on(flip).get(k) is on)
                for k in self._shown_order
            ]
            if any(value is not None for value in values):
                series[f"{name}: to {self.subject.readout.poles[on]}"] = values
        return series

    def _bars(self, success: dict[str, list[float | None]]) -> list[Bars]:
        hard = {k: "" if told else " (hard to judge)" for k, told in enumerate(self.told)}
        labels = [self.subject.readout.names[k] + hard[k] for k in self._shown_order]
        return [Bars("success", f"edits that take, by the {self.subject.judged_by}", labels, success)]

    def _side_effects(self, name: str, after: dict[str, Tensor], before: dict[str, Tensor]) -> list[Matrix]:
        """How much more often each label changes with an edit than without any; empty if there are no other labels."""
        prefix, differs = self.subject.most_trusted, self.subject.readout.differs
        given = self.subject.readout.decode(self.subject.seen[prefix])
        changed = differs(after[prefix], given[self.images])
        excess = changed.double() - differs(before[prefix], given)[self.images].double()
        for m, flip in enumerate(self.made):  # labels that were set are not side effects
            excess[m, self._which(flip)] = torch.nan
        of_each = [excess[[k in flip.values for flip in self.made]].nanmean(0) for k in self.edited]
        values = [[None if value != value else value for value in row.tolist()] for row in of_each]
        title = f"{name}: labels (columns) that change with an edit (rows) beyond those that change without, %"
        labels = [self.subject.readout.names[k] for k in self.edited]
        if not self.subject.drawn_by_name or all(value is None for row in values for value in row):
            return []
        return [Matrix(f"side_effects_{name}", title, labels, self.subject.readout.names, values)]

    def _pictures(self, method: str, samples: Mapping[str, Samples]) -> Pictures:
        chosen = self._shown()
        images = self.images[chosen]
        rows, edited = {"held-out": self.subject.images[images]}, {}
        for start in self.starts:
            where = self._from(start, ",\n")
            rows[f"not edited{where}"] = samples[_key(method, _UNEDITED, start)].images[images]
            for others in self.shares:
                found = samples[_key(method, others, start)].images[chosen]
                rows[f"edited,\nothers {others}{where}"] = found
                edited[", ".join([*[others] * (len(self.shares) > 1), *filter(None, [self._from(start, "")])])] = found
        captions = [self._caption(m) for m in chosen]
        for what, images in edited.items():  # say in which of the rows the edit took
            seen = self.subject.decoded(self.subject.views(images))[self.subject.most_trusted]
            for c, m in enumerate(chosen):
                took = self.subject.readout.met(seen[[c]], self.made[m].values).all()
                word = "took" if took else "failed"
                captions[c] += f"\n{word}" + f" ({what})" * (len(edited) > 1)
        return Pictures(f"edits_{method}", f"Edits by {method}", rows, captions)

    def _shown(self) -> list[int]:
        """The edits to show: one in each direction for each pictured label, from as many images as possible."""
        chosen: list[int] = []
        for k in self.pictured:
            for on in (True, False):
                of_k = [m for m, flip in enumerate(self.made) if self._on(flip).get(k) is on]
                shown = [self.made[other].image for other in chosen]
                new = [m for m in of_k if m not in chosen]
                chosen += sorted(new, key=lambda m: shown.count(self.made[m].image))[:1]
        return chosen

    def _from(self, start: int | None, comma: str) -> str:
        """Where sampling starts, in words; empty if all samples start from noise."""
        return "" if self.starts == [None] else f"{comma}from {'noise' if start is None else f't = {start}'}"

    def _label(self, flip: Flip) -> str:
        return "__".join(self.subject.readout.said(*item).replace(" ", "_") for item in flip.said.items())

    def _caption(self, m: int) -> str:
        return self._label(self.made[m]).replace("__", "\n").replace("_", " ")

    def _compared(self) -> str:
        by = self.subject.judged_by
        told = [name for name, well in zip(self.subject.readout.names, self.told, strict=True) if well]
        others = " or ".join(_WORDS.get(others, f"follow by {others}") for others in self.shares)
        return (
            f"{self._what()} The other outputs {others}. {self._where()} 'Take' is how often the {by} sees in the "
            f"sample what was set, over the {len(told)} {self.subject.readout.plural} that it recognises well on real "
            f"test images (balanced accuracy of at least {100 * self.well_judged:.0f} %): {', '.join(told) or 'none'}; "
            "the rest are counted apart, as 'hard ones'. 'Others change' counts the others in which the sample differs "
            "from the held-out image; 'unedited', how many differ when nothing was set: those are not the "
            "edit's. 'Distance' is the root mean square of pixels in [-1, 1]. Intervals are 95 % confidence intervals "
            "over the images that were edited, by the bootstrap, which makes them too narrow for fewer than twenty; by "
            "Wilson's formula where all edits take, or none. Fréchet distances, in the judge's outputs, are of equally "
            "many edited samples, unedited samples, and real images that show what the edits set ('real ones alike'); "
            "those of fewer than 50 images are mostly chance."
        )

    def _where(self) -> str:
        if self.starts == [None]:
            return (
                "Each sample starts from noise; sample.py task=edit starts from the image, with the noise of t = 450 "
                "on it (here study.starts=[450])."
            )
        return "Samples start from noise, or from the image with the noise of a step t on it."

    def _what(self) -> str:
        if self.settings is not None:
            return (
                f"Labels are set together in the outputs of held-out images that show the opposite of each, at most "
                f"{self.each} of each kind. An edit takes if all of them are as set."
            )
        values = " and ".join(map(str, self.values or self.subject.readout.poles))
        return (
            f"One {self.subject.readout.noun} at a time is set to {values} in the outputs of held-out images that show "
            f"the opposite, at most {self.each} for each and each value."
        )

    def _verdict(self, name: str, entry: dict) -> Iterable[str]:
        prefix, by = self.subject.most_trusted, self.subject.judged_by
        success, hard = entry[f"{prefix}edit_success"], entry[f"{_HARD}{prefix}edit_success"]
        name += f", {entry['set']} set" if "set" in entry else ""
        if success is not None:
            least, most = entry[f"{prefix}edit_success_interval"]
            low, high = self.subject.readout.poles
            ways = {high: entry[f"{prefix}to_yes"], low: entry[f"{prefix}to_no"]}
            each = [f"{100 * share:.0f} % of those to {way}" for way, share in ways.items() if share is not None]
            apart = f" ({', '.join(each)})" if len(each) == 2 else ""
            yield (
                f"{name}: {100 * success:.1f} % of {entry['edits']} edits take (95 % interval {100 * least:.0f} to "
                f"{100 * most:.0f}){apart}, by the {by}; {entry[f'{prefix}side_effects']:.1f} others change, "
                f"{entry[f'{prefix}unedited_changes']:.1f} without any edit."
            )
        elif hard is not None:
            yield f"{name}: {100 * hard:.1f} % of edits take, but the {by} recognises none of these well."
        if said := self.subject.verdict(entry):
            yield f"{name}: {said}"


_WORDS = {
    "keep": "are kept",
    "likely": "follow by regression on the training images, as far as makes the target likely",
    "follow": "follow by regression on the training images",
    "free": "are free",
}


def _key(method: str, what: str, start: int | None) -> str:
    """The name of a request."""
    return f"{method}_{what}" + ("" if start is None else f"_from_{start}")


def mean(values: Iterable[float]) -> float | None:
    """The mean of some values; None if there are none."""
    values = [float(value) for value in values]
    return sum(values) / len(values) if values else None


def _interval(rows: list[dict], key: str, resamples: int) -> list[float] | None:
    """The interval of the mean over edits, by resampling images: edits of the same image depend on each other."""
    if not rows:
        return None
    by_image: dict[str, list[bool]] = {}
    for row in rows:
        by_image.setdefault(row["image"], []).append(row[key])
    sums, counts = (torch.tensor([of(values) for values in by_image.values()]).double() for of in (sum, len))
    if sums.sum() in (0, counts.sum()):  # resampling would give a single point; Wilson's formula gives an interval
        edge = _NORMAL**2 / (len(by_image) + _NORMAL**2)
        return [0.0, edge] if sums.sum() == 0 else [1 - edge, 1.0]
    return ratio_interval(sums, counts, resamples=resamples).tolist()
