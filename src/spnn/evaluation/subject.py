"""The subject of a study: a run's models, held-out images, and what each classifier sees in them."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from spnn.data import Source
from spnn.data.arrays import LabelledImages
from spnn.data.module import scale_to_unit_range
from spnn.data.sources import Split
from spnn.errors import InputError, some_of
from spnn.metrics import (
    agreement,
    agreement_intervals,
    faults,
    fine_energy,
    judge_distances,
    saturated,
    verdict,
)
from spnn.outputs import MOST, TrainingOutputs, outputs_of
from spnn.sampling.images import held_out
from spnn.sampling.models import Models

ENOUGH = 50  # images for a meaningful Fréchet distance
_NAMED = 100  # the most outputs that charts show one by one
_REAL = 2000  # the most real images that a set of samples is compared with

__all__ = ["ENOUGH", "Subject", "means"]


class Subject:
    """A run under study.

    Arguments:
        models: Its models; the operator must be the run's own.
        count: The number of held-out images, the first of the split; None for 100, or all if there are fewer.
        resamples: The number of sets of images drawn for a confidence interval.
        split: The split of the held-out images: ``test``, or ``val`` to choose options without seeing any test images.

    Raises:
        InputError: If there is no run, the operator wasn't trained on its labels, or there are too few images.
    """

    def __init__(self, models: Models, count: int | None, resamples: int, split: Split = "test"):
        if split not in ("test", "val"):
            raise InputError(f"split is test, or val to choose options by, not {split!r}.")
        self.split = split
        if not models.readout.names or models.run is None or models.operator is None:
            raise InputError(
                "evaluate.py studies a network that predicts labels: it needs run=<folder> and operator=trained."
            )
        self.models, self.run, self.operator, self.resamples = models, models.run, models.operator, resamples
        self.readout = models.readout
        known = self.run.source.label_names
        if unknown := [name for name in self.readout.names if name not in known]:
            raise InputError(
                f"the operator's outputs are compared with the labels of the run's images, but {self.run.folder} has "
                f"no label {some_of(unknown)}: study a run that was trained on the same labels."
            )
        self._columns = [known.index(name) for name in self.readout.names]  # the order may differ
        # [N], and [N, C, H, W] in [-1, 1]
        self.names, self.images = held_out(self.source, 0, count, usual=100, split=split)

    @property
    def training_outputs(self) -> TrainingOutputs:
        """Statistics of the network's outputs on training images.

        Raises:
            InputError: If there are too many outputs for statistics, or no run trained the network.
        """
        if (found := self.models.training_outputs) is None:
            raise InputError(
                "low and high come from training images, which are known only for a run's own network of at most "
                f"{MOST} outputs: set numbers."
            )
        return found

    @property
    def drawn_by_name(self) -> bool:
        """Whether there are few enough outputs for charts that show each by name."""
        return len(self.readout.names) <= _NAMED

    @property
    def source(self) -> Source:
        """Where the run's images come from."""
        return self.run.source

    def _labels(self, dataset: LabelledImages) -> Tensor:
        """All labels of a data set, in the order of the operator's outputs, [N, K]."""
        return torch.from_numpy(np.asarray(dataset.labels)[:, self._columns]).float()

    @cached_property
    def labels(self) -> Tensor:
        """The held-out images' labels, [N, K]."""
        return self._labels(self.source.split(self.split))[: len(self.images)]

    @cached_property
    def _others(self) -> list[tuple[LabelledImages, range]]:
        """Data sets and indices of real images that are not held out here. They are from the same split; if the test
        split has fewer left than are held out, they are from the validation split, too."""
        count, own, val = len(self.images), self.source.split(self.split), self.source.split("val")
        left = [(own, range(count, len(own))[:_REAL])]
        if len(own) >= 2 * count or self.split == "val":
            return left
        return [*left, (val, range(len(val))[: _REAL - len(left[0][1])])]

    @cached_property
    def real(self) -> Tensor:
        """Other real images to compare sets of samples with, at most 2,000, [M, C, H, W] in [-1, 1]. None of them are
        held out here or from the training split."""
        images = [dataset[index]["image"] for dataset, places in self._others for index in places]
        return scale_to_unit_range(torch.stack(images))

    @cached_property
    def real_labels(self) -> Tensor:
        """The labels of :attr:`real`, [M, K]."""
        return torch.cat([self._labels(dataset)[list(places)] for dataset, places in self._others])

    @cached_property
    def real_judged(self) -> Tensor:
        """The most trusted classifier's outputs for :attr:`real`, [M, K]."""
        return outputs_of(self.networks[self.most_trusted], self.real)

    @cached_property
    def balanced_accuracy(self) -> Tensor:
        """How well the most trusted classifier recognises each label in real images, [K]; images with the label and
        images without it get equal weight. For a number, the share that it gets right within the tolerance."""
        found = agreement(self.readout.decode(self.real_judged), self.real_labels, readout=self.readout)
        return found.get("balanced_agreement", found["agreement"]).float()

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Prefix of a metric's name to the classifier behind it: the guiding network, and the judge if there is one."""
        judge = self.models.judge
        return {"": self.operator} | ({} if judge is None else {"judge_": judge})

    def views(self, images: Tensor) -> dict[str, Tensor]:
        """What each classifier sees in images [N, C, H, W]: outputs [N, K]."""
        return {prefix: outputs_of(network, images) for prefix, network in self.networks.items()}

    @cached_property
    def seen(self) -> dict[str, Tensor]:
        """What each classifier sees in the held-out images: outputs [N, K]."""
        return self.views(self.images)

    @property
    def y(self) -> Tensor:
        """The guiding network's outputs for the held-out images, [N, K]."""
        return self.seen[""]

    @property
    def most_trusted(self) -> str:
        """The prefix of the classifier to trust most: the judge's, if there is one."""
        return list(self.networks)[-1]

    @staticmethod
    def classifier(prefix: str) -> str:
        """The name, in texts, of the classifier with a prefix."""
        return "judge" if prefix else "guiding network"

    @property
    def judged_by(self) -> str:
        """The name, in texts, of the most trusted classifier."""
        return self.classifier(self.most_trusted)

    def decoded(self, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        """The decoded outputs of each classifier, [N, K]."""
        return {prefix: self.readout.decode(y) for prefix, y in seen.items()}

    def wholeness_of_each(self, images: Tensor) -> dict[str, Tensor]:
        """``saturated`` and ``fine_energy`` of each image, [N], see :mod:`spnn.metrics.wholeness`."""
        return {"saturated": saturated(images), "fine_energy": fine_energy(images)}

    @cached_property
    def wholeness_of_real(self) -> dict[str, float]:
        """The means of these over other real images."""
        return {name: values.mean().item() for name, values in self.wholeness_of_each(self.real).items()}

    def realism(self, images: Tensor, unedited: Tensor | None = None, matched: Sequence[int] = ()) -> dict[str, float]:
        """How samples look as a set, compared with real images.

        Arguments:
            images: The samples, [N, C, H, W].
            unedited: Samples drawn without any edit, to compare edited ones with.
            matched: Indices of real images that show what the edits set.

        Returns:
            ``saturated``, ``fine_energy``, their ``real_`` counterparts and ``fine_energy_ratio``; with a judge and
            more than one image, also ``judge_frechet`` and ``judge_kernel``. With ``unedited``, there are the same
            distances for the unedited and the matched images, as ``unedited_judge_frechet`` and so on; then each is
            computed from ``compared_images`` images.
        """
        found = {name: values.mean().item() for name, values in self.wholeness_of_each(images).items()}
        found |= {f"real_{name}": value for name, value in self.wholeness_of_real.items()}
        found["fine_energy_ratio"] = found["fine_energy"] / max(found["real_fine_energy"], 1e-12)
        if self.models.judge is None or len(images) < 2:
            return found
        if unedited is None:
            return found | judge_distances(self.real_judged, outputs_of(self.models.judge, images))
        judged = {prefix: outputs_of(self.models.judge, x) for prefix, x in (("", images), ("unedited_", unedited))}
        if len(matched) > 1:
            judged["matched_"] = self.real_judged[list(matched)]
        count = min(map(len, judged.values()))  # Fréchet distances of different numbers of images aren't comparable
        found["compared_images"] = count
        for prefix, y in judged.items() if count > 1 else ():
            some = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:count]]
            distances = judge_distances(self.real_judged, some)
            found |= {f"{prefix}{name}": value for name, value in distances.items()}
        return found

    @staticmethod
    def verdict(found: dict) -> str | None:
        """A sentence on how the pictures differ from real ones, if :meth:`realism` found that they do."""
        real = {name: found[f"real_{name}"] for name in ("saturated", "fine_energy")}
        expected = [found[key] for key in ("unedited_judge_frechet", "matched_judge_frechet") if key in found]
        enough = found.get("compared_images", 0) >= ENOUGH
        return verdict(faults(found, real, max(expected, default=None) if enough else None))

    @cached_property
    def baseline(self) -> Tensor:
        """The best answer without seeing any image, from the training images' labels: decoded, [K]."""
        return self.readout.baseline(self._labels(self.source.split("train")))

    def right(self, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        """Masks of where each classifier sees the same in samples, outputs [N, K], as in the held-out images."""
        wanted = self.decoded(self.seen)
        return {prefix: self.readout.agrees(y, wanted[prefix]) for prefix, y in self.decoded(seen).items()}

    def scores(self, found: dict[str, Tensor]) -> dict[str, float]:
        """The readout's own score, such as ``iou``, of what each classifier sees in samples, decoded [N, K], against
        the held-out images' labels: ``<prefix><score>``, the mean over the scored parts."""
        scores = {}
        for prefix, values in found.items():
            metric = self.readout.metric()
            metric.update(values, self.labels)
            for kind, of_each in self.readout.by_score(metric.compute().reshape(-1)).items():
                scores[f"{prefix}{kind}"] = torch.stack([*of_each.values()]).nanmean().item()
        return scores

    def compare(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compare what each classifier sees in samples, decoded [N, K], with what it sees in the held-out images, and
        with their labels.

        Returns:
            ``<prefix>agreement``, ``<prefix>balanced_agreement``, ``<prefix>mae``, [K] each, against the classifier's
            own view; ``<prefix>label_agreement`` and so on against the labels; and ``<name>_interval`` for each, [2].
        """
        compared: dict[str, Tensor] = {}
        for prefix, values in found.items():
            for against, wanted in (("", self.readout.decode(self.seen[prefix])), ("label_", self.labels)):
                found_ = agreement_intervals(values, wanted, resamples=self.resamples, readout=self.readout)
                compared |= {f"{prefix}{against}{name}": value for name, value in found_.items()}
        return compared


def means(values: dict[str, Tensor]) -> dict[str, float | list[float]]:
    """The results of :meth:`Subject.compare`, averaged over coordinates; the intervals are unchanged."""
    return {key: v.tolist() if key.endswith("_interval") else v.nanmean().item() for key, v in values.items()}
