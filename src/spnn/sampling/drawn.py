"""Samples and how they turned out: what the networks see in them, which edits took, whether the pictures are whole."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from spnn.errors import counted
from spnn.metrics import Fault, agreement_with, faults, measurement_metrics, pixel_metrics, verdict
from spnn.outputs import outputs_of
from spnn.readout import Readout
from spnn.sampling.models import Models
from spnn.sampling.pictures import save_grid
from spnn.sampling.tasks import Problem

__all__ = ["Drawn", "View", "look_at"]

_WHOLE = ("saturated", "fine_energy")


@dataclass(frozen=True)
class View:
    """What a network sees in M samples.

    Attributes:
        by: The network's name.
        prefix: Prefix of its metrics' names.
        readout: What its outputs mean.
        found: Its outputs for the samples, [M, ...].
        wanted: What they should be, [M, ...].
        given: Its outputs for the images that the targets were taken from, [M, ...], if there are any.
    """

    by: str
    prefix: str
    readout: Readout
    found: Tensor
    wanted: Tensor
    given: Tensor | None

    @property
    def right(self) -> Tensor:
        """Where the samples match the target: a mask, [M, K]."""
        return self._agree(self.found, self.wanted)

    def took(self, edited: Tensor) -> Tensor:
        """Whether all coordinates selected by a mask, [K], match the target, [M]."""
        return self.right[:, edited].all(1)

    def before(self, edited: Tensor) -> Tensor:
        """Whether they matched it in the given images already, [M]; all False if there are none."""
        if self.given is None:
            return torch.zeros(len(self.found), dtype=torch.bool)
        return self._agree(self.given, self.wanted)[:, edited].all(1)

    def changed(self, edited: Tensor) -> Tensor | None:
        """Where coordinates outside a mask, [K], differ from the given images: a mask, [M, K]."""
        return None if self.given is None else ~self._agree(self.found, self.given) & ~edited

    def side_effects(self, edited: Tensor) -> Tensor:
        """How many coordinates outside the mask differ from the given images, [M]."""
        changed = self.changed(edited)
        assert changed is not None  # only called where there are given images
        return torch.tensor([len(self.readout.listed(row)) for row in changed]).double()

    def _agree(self, y: Tensor, other: Tensor) -> Tensor:
        return self.readout.agrees(self.readout.decode(y), self.readout.decode(other)) & y.isfinite()


@dataclass(frozen=True, repr=False)
class Drawn:
    """Samples, and the problem they were drawn for. A notebook shows them as a picture.

    Attributes:
        images: The samples, [M, C, H, W], roughly in [-1, 1]; the same number for each target, one target after the
            other.
        outputs: The operator's outputs for them, [M, ...]; None without an operator.
        problem: The targets, ``problem.y`` [N, ...], and which coordinates were ``free`` or ``edited``.
        metrics: As in ``metrics.json`` of ``sample.py``: agreement, wholeness, gaps.
        models: The models they were drawn with.
        seen: What the operator and the judge, if there is one, see in them; empty if there were no targets.
    """

    images: Tensor
    outputs: Tensor | None
    problem: Problem
    metrics: dict[str, float]
    models: Models
    seen: Sequence[View]

    @property
    def per_target(self) -> int:
        """Samples per target."""
        return len(self.images) // len(self.problem.names)

    @property
    def took(self) -> Tensor | None:
        """Whether each sample shows everything that was set, by the last of ``seen``, [M]; None if nothing was set."""
        return None if self.problem.edited is None else self.seen[-1].took(self.problem.edited)

    @cached_property
    def faults(self) -> list[Fault]:
        """How the samples differ from the training images, or from the given images where the training images aren't
        known. Anything that the given images show themselves is no fault."""
        own, found = self.metrics, []
        for prefix, name in (("training_", "training images"), ("given_", "the given images")):
            if f"{prefix}saturated" in own:
                found.append(faults(own, {key: own[f"{prefix}{key}"] for key in _WHOLE}, of=name))
        if not all(found):
            return []
        broken = all(any(fault.broken for fault in some) for some in found)
        return [replace(fault, broken=fault.broken and broken) for fault in found[0]] if found else []

    @property
    def verdict(self) -> str | None:
        """The faults as a sentence; None if there are none."""
        return verdict(self.faults)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        return f"Drawn({len(self.images)} images of {tuple(self.images.shape[1:])}: {metrics})"

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.save_overview(file)
        return file.getvalue()

    def save_overview(self, file: Path | BinaryIO, most: int = 16) -> None:
        """Draw the pictures and samples of up to ``most`` targets as a PNG. Where targets are maps, draw these too, and
        the maps that are read off the samples."""
        problem, readout, copies = self.problem, self.models.readout, self.per_target
        series = len(problem.labels)
        labels = [
            label if copies == 1 else f"{label}\nsample {i + 1}" for label in problem.labels for i in range(copies)
        ]

        def below(images: Tensor | None, labels: Sequence[str]) -> dict[str, Tensor]:
            """Images as labelled rows: one row per label, which the images take in turn."""
            if images is None:
                return {}
            return dict(zip(labels, images.unflatten(0, (-1, len(labels))).unbind(1), strict=True))

        rows = {label: images[::series] for label, images in problem.rows.items()}
        found: dict[str, Tensor] = {}
        legend = readout.legend if self.seen else {}
        if legend and problem.y is not None:
            view = self.seen[-1]
            fixed = problem.y if problem.free is None else problem.y.masked_fill(problem.free, torch.nan)
            wanted = ["target"] if series == 1 else [f"target\n{label}" for label in problem.labels]
            rows |= below(readout.picture(fixed), wanted)
            found = below(readout.picture(view.found), [f"{label}\nby {view.by}" for label in labels])
        rows |= below(self.images, labels) | found
        captions = self._captions() if series == 1 else [""] * (len(problem.names) // series)
        shown = {label: images[:most] for label, images in rows.items()}
        save_grid(shown, captions[:most], file, legend=legend)

    def in_words(self) -> list[str]:
        """Sentences on how many edits took and what else changed; none if nothing was set."""
        edited, listed = self.problem.edited, self.models.readout.listed
        if edited is None:
            return []
        view = self.seen[-1]
        took, before, failed = view.took(edited), view.before(edited), ~view.right & edited
        if view.given is None:
            said = f"{took.sum()} of {len(took)} samples show what was set, by {view.by}"
        else:
            said = f"by {view.by}, {took[~before].sum()} of {(~before).sum()} edits took"
            if before.any():
                said += f"; {took[before].sum()} of {before.sum()} images that showed what was set still do"
        said += f"; missing: {_counts(map(listed, failed))}" * bool(len(listed(edited)) > 1 and failed.any())
        sentences = [f"{said[0].upper()}{said[1:]}."]
        if (changed := view.changed(edited)) is not None and changed.any():
            count, many = len(listed(~edited)), view.side_effects(edited).mean()
            sentences.append(
                f"On average {many:.1f} of the {counted(count, 'other label')} changed: "
                f"{_counts(map(listed, changed))}. (Some change without any edit; study=edit tells them apart.)"
            )
        return sentences

    def _captions(self) -> list[str]:
        """A caption for each target: how much of it was achieved, on average over its samples."""
        problem, by_target = self.problem, (-1, self.per_target)
        if not self.seen:
            return problem.names
        view = self.seen[-1]
        if not self.models.readout.names:
            gaps = (view.found - view.wanted).abs().flatten(1).mean(1).unflatten(0, by_target).mean(1)
            return [f"{name}\ngap {gap:.1e}" for name, gap in zip(problem.names, gaps.tolist(), strict=True)]

        if problem.edited is None:
            agree = [len(view.readout.listed(row)) for row in view.right]
            every = len(view.readout.listed(torch.ones_like(view.right[0])))
            means = torch.tensor(agree).unflatten(0, by_target).double().mean(1).tolist()
            captions = [f"{count:.3g} of {every} agree" for count in means]
        else:
            of_each = view.took(problem.edited).unflatten(0, by_target).sum(1).tolist()
            if self.per_target > 1:
                captions = [f"{n} of {self.per_target} took" for n in of_each]
            else:
                held = view.before(problem.edited)  # by the given images
                captions = [
                    ("kept" if was else "took") if n else "failed" for n, was in zip(of_each, held, strict=True)
                ]
            if view.given is not None:
                also = view.side_effects(problem.edited).unflatten(0, by_target).mean(1).tolist()
                captions = [f"{text}\nothers changed: {count:.3g}" for text, count in zip(captions, also, strict=True)]
        return [f"{text}\nby {view.by}" for text in captions]


def look_at(images: Tensor, problem: Problem, models: Models, *, download: bool = False) -> Drawn:
    """Look at a problem's samples, [M, C, H, W], the same number for each target, and compute their metrics; a metric
    may ``download`` its network."""
    outputs = None if models.operator is None else outputs_of(models.operator, images)
    seen = _views(images, outputs, problem, models)
    metrics = dict(pixel_metrics(images))
    if problem.images is not None:  # the images to compare them with
        given = pixel_metrics(problem.images)
        metrics |= {f"given_{name}": given[name] for name in _WHOLE}
    known = models.kept_training_outputs
    if known is not None and known.whole.isfinite().all():
        metrics |= {f"training_{name}": value for name, value in zip(_WHOLE, known.whole.tolist(), strict=True)}
    if seen and not models.readout.names:
        clean = None
        if problem.clean and problem.images is not None:
            clean = _repeated(problem.images, len(images) // len(problem.names))
        metrics = dict(measurement_metrics(seen[0].found, seen[0].wanted, images, clean, download=download)) | metrics
    elif seen:
        for view in seen:
            of_view = dict(agreement_with(view.found, view.wanted, problem.free, problem.edited, models.readout))
            if problem.edited is not None and view.given is not None:
                of_view["side_effects"] = view.side_effects(problem.edited).mean().item()
                new = ~view.before(problem.edited)  # the others showed it already, so they prove nothing
                if new.any():
                    of_view["edit_success"] = view.took(problem.edited)[new].double().mean().item()
            metrics |= {f"{view.prefix}{name}": value for name, value in of_view.items()}
    return Drawn(images, outputs, problem, metrics, models, seen)


def _views(images: Tensor, outputs: Tensor | None, problem: Problem, models: Models) -> list[View]:
    """The judge's targets are its own predictions on the source image, except for the coordinates that were set."""
    if problem.y is None or models.operator is None:
        return []
    per_target = len(images) // len(problem.names)
    networks: dict[tuple[str, str], nn.Module] = {("g", ""): models.operator}
    if models.judge is not None and models.readout.names:
        networks["the judge", "judge_"] = models.judge
    views = []
    for (by, prefix), network in networks.items():
        y, given = problem.y, None if problem.images is None else outputs_of(network, problem.images)
        if prefix and given is not None:
            y = given if problem.edited is None else torch.where(problem.edited, y, given)
        found = outputs if outputs is not None and network is models.operator else outputs_of(network, images)
        given = None if given is None else _repeated(given, per_target)
        views.append(View(by, prefix, models.readout, found, _repeated(y, per_target), given))
    return views


def _repeated(rows: Tensor, times: int) -> Tensor:
    return rows if times == 1 else rows.repeat_interleave(times, 0)  # this would copy them even for times == 1


def _counts(listed: Iterable[list[str]], most: int = 4) -> str:
    """The names that occur in the most lists, each with the number of lists."""
    counted = Counter(name for names in listed for name in names)
    return ", ".join(f"{name} in {count}" for name, count in counted.most_common(most))
