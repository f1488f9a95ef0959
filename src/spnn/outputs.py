r"""A network's outputs of images, and what its outputs of training images look like: where targets come from.

No image meets a target that no image has. Logits of real labels are small, skewed and strongly correlated, so a large
number in one coordinate, all others kept, asks for what the network never saw. :class:`TrainingOutputs` knows what it
saw:

- *typical* values of a coordinate, quantiles of its output among the training images that the network sees it in;
- how the others *follow* coordinates :math:`S` that are set: by the regression
  :math:`B_{\cdot S} B_{SS}^{-1} \Delta y_S`, where :math:`B` is the mean over :math:`S` of balanced covariances: images
  that have the label weigh as much, together, as those that lack it. Otherwise the regression on a rare label
  would describe the images that lack it, and extrapolate far beyond those that have it;
- how *far* a target lies from them: the Mahalanobis distance
  :math:`\sqrt{(y - \mu)^\top C^{-1} (y - \mu) / K}`, about 1 for a training image;
- *random* outputs of that mean and covariance: with what follows a setting, a draw of the others given the set ones
  (Matheron's rule); where images have one class of several, of a class's mean and the covariance *within* classes: half
  of one class and half of another is what no image shows;
- which labels training images have *together*, and how *whole* the images are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from spnn.metrics.wholeness import fine_energy, saturated
from spnn.readout import LOGITS, Readout
from spnn.saving import replacing
from spnn.settings import working_device

if TYPE_CHECKING:
    from spnn.data import LabelledImages

__all__ = ["MOST", "TrainingOutputs", "outputs_of"]

MOST = 8192  # outputs, beyond which matrices [K, K] take gigabytes: what training images show isn't described then

_ENOUGH = 10_000  # training images, for quantiles and a covariance
_MANY = 128  # outputs, beyond which K matrices [K, K] take too much memory
_LEVELS = torch.linspace(0, 1, 101)


@torch.no_grad()
def outputs_of(network: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """A network's outputs of images, [N, C, H, W] -> [N, ...] on the CPU; it is moved to where the process computes."""
    device = working_device()
    network = network.to(device)
    return torch.cat([network(batch.to(device)).cpu() for batch in images.split(batch_size)])


@dataclass(frozen=True)
class TrainingOutputs:
    """What a network's K outputs of training images look like.

    Attributes:
        mean: [K].
        range: The least and the largest output of each coordinate, [2, K].
        covariance: [K, K].
        balanced: For each label, the covariance over images that have it and as many that lack it, [K, K, K]; of many
            outputs, the covariance alone, [1, K, K].
        present: Quantiles of each output, in steps of 1 %, over the images that have the label and where the network
            sees it, [101, K]; where there are none, over all that have it; NaN if no image has it. Of a number, over
            all images.
        absent: The same of images that lack it.
        distance: Quantiles of the training images' own distances, [101].
        together: Shares of the images that have two labels, [K, K]; that have one, on the diagonal.
        whole: The images' mean :func:`~spnn.metrics.saturated` and :func:`~spnn.metrics.fine_energy`, [2]; NaN where
            only outputs are known.
        means: The mean outputs of images that have a label, [K, K]; NaN where no image has it, or an earlier version
            wrote the file.
    """

    mean: Tensor
    range: Tensor
    covariance: Tensor
    balanced: Tensor
    present: Tensor
    absent: Tensor
    distance: Tensor
    together: Tensor
    whole: Tensor
    means: Tensor

    @classmethod
    def of(cls, y: Tensor, labels: Tensor, readout: Readout = LOGITS, whole: Tensor | None = None) -> "TrainingOutputs":
        """Describe outputs [N, K] of images with labels [N, K]. How ``whole`` each image is, [N, 2], may be known."""
        has, seen, y = readout.has(labels), readout.has(readout.decode(y)), y.double()
        grouped = torch.tensor([readout.part(k).grouped for k in range(y.shape[1])])
        lacks, unseen = (torch.where(grouped, ~mask, mask) for mask in (has, seen))
        mean, covariance, ends = y.mean(0), _covariance(y), torch.stack([y.amin(0), y.amax(0)])
        balanced = covariance[None]
        if y.shape[1] <= _MANY:
            balanced = torch.stack([_covariance(y, images) for images in has.T])
        distance = _distance(y, mean, covariance).quantile(_LEVELS.double())
        typical = _quantiles(y, has, seen), _quantiles(y, lacks, unseen)
        together = has.double().T @ has.double() / len(has)
        whole = torch.full((2,), torch.nan) if whole is None else whole.mean(0)
        means = (has.double().T @ y) / has.double().sum(0)[:, None]
        found = mean, ends, covariance, balanced, *typical, distance, together, whole, means
        return cls(*(tensor.float() for tensor in found))

    @classmethod
    def of_images(cls, network: nn.Module, images: "LabelledImages", readout: Readout = LOGITS) -> "TrainingOutputs":
        """Describe a network's outputs of a source's training images, at most 10,000, evenly spread."""
        from spnn.data.module import collate, scale_to_unit_range  # here, for a list of runs needs no Lightning

        count = min(len(images), _ENOUGH)
        spread = Subset(images, [i * len(images) // count for i in range(count)])
        y, labels, whole = [], [], []
        for batch in DataLoader(spread, batch_size=256, collate_fn=collate):
            some = scale_to_unit_range(batch["image"])
            y.append(outputs_of(network, some, 256))
            labels.append(batch["labels"])
            whole.append(torch.stack([saturated(some), fine_energy(some)], dim=1))
        return cls.of(torch.cat(y), torch.cat(labels), readout, torch.cat(whole))

    def save(self, path: Path) -> None:
        """Write a file, in one step."""
        with replacing(path) as unfinished:
            save_file({field.name: getattr(self, field.name).contiguous() for field in fields(self)}, unfinished)

    @classmethod
    def load(cls, path: Path) -> "TrainingOutputs | None":
        """Read what :meth:`save` wrote; None if an earlier version did, which knew less."""
        found = load_file(path)
        if "mean" in found:
            found.setdefault("means", torch.full([len(found["mean"])] * 2, torch.nan))
        return cls(**found) if found.keys() == {field.name for field in fields(cls)} else None

    def typical(self, place: int, has: bool, quantile: float) -> float:
        """What images with (or without) a label show of it: this quantile of how clearly they do. Of a number, what is
        high (or low).

        Returns:
            An output; NaN if no training image is of that kind.
        """
        level = round(100 * (quantile if has else 1 - quantile))
        return (self.present if has else self.absent)[level, place].item()

    def follow(self, y: Tensor, places: Sequence[int], values: Tensor, share: float | Tensor = 1.0) -> Tensor:
        """Set coordinates, and let the others follow.

        Arguments:
            y: Outputs, [N, K].
            places: S coordinates.
            values: What they are set to, [N, S].
            share: How far the others follow, from 0 (they are kept) to 1 (their regression on the set ones); one for
                all, or of each row, [N, 1].

        Returns:
            The new outputs, [N, K].
        """
        covariance = self.balanced[places if len(self.balanced) > 1 else [0]].double().mean(0)
        among = covariance[places][:, places]
        among = among + 1e-6 * covariance.diagonal().mean() * torch.eye(len(places), dtype=torch.double)
        slopes = torch.linalg.solve(among, covariance[places])  # [S, K]
        moved = y + share * ((values - y[:, places]).double() @ slopes).to(y)
        moved[:, places] = values
        return moved

    def swap(self, y: Tensor, place: int, group: Sequence[int], *, all_follow: bool) -> Tensor:
        """Give images another class: outputs move by the difference between its mean outputs and those of the class
        that they show, so that what sets an image apart from others of its class stays.

        Arguments:
            y: Outputs, [N, K].
            place: Of the class.
            group: The places of all classes, one of which an image has.
            all_follow: Whether the other outputs move, too.

        Returns:
            The new outputs, [N, K].
        """
        shown = torch.tensor(group)[y[:, group].argmax(1)]
        moved = y + (self.means[place] - self.means[shown]).nan_to_num()
        if all_follow:
            return moved
        kept = torch.ones(y.shape[1], dtype=torch.bool).index_fill(0, torch.tensor(group), False)
        return torch.where(kept, y, moved)

    def likely(self, y: Tensor, places: Sequence[int], values: Tensor) -> Tensor:
        """Set coordinates, and let the others follow no further than needed for a target that is as likely as all but
        one in a hundred training images; if no share makes it that, by the share that makes it the likeliest. Arguments
        as in :meth:`follow`."""
        shares = torch.linspace(0, 1, 21)
        distances = torch.stack([self.far(self.follow(y, places, values, share.item()))[0] for share in shares])
        enough = distances <= self.distance[99]
        least = torch.where(enough.any(0), enough.int().argmax(0), distances.argmin(0))
        return self.follow(y, places, values, shares[least][:, None])

    def strangest(self, y: Tensor) -> tuple[int, float, float]:
        """Which of the outputs [K] is the furthest from what the others lead one to expect: its place, the expected
        value, and the deviation from it among training images."""
        precision = torch.linalg.inv(_regular(self.covariance.double()))
        pull, own = precision @ (y.double() - self.mean.double()), precision.diagonal()
        k = int((pull.abs() / own.sqrt()).argmax())
        return k, (y[k].double() - pull[k] / own[k]).item(), own[k].rsqrt().item()

    def within(self, group: Sequence[int]) -> "TrainingOutputs":
        """The same, but for the covariance: that of images about the mean of their class, one of ``group``."""
        apart = self._apart(group).double()
        between = (self.together.diagonal()[[*group]].double()[:, None] * apart).T @ apart
        covariance = (self.covariance - between).float()
        return replace(self, covariance=covariance, balanced=covariance[None])

    def random(self, seeds: Sequence[int], group: Sequence[int] = ()) -> Tensor:
        """Draw outputs from a normal distribution with the training images' mean and covariance: for each of N seeds
        those of one image that there might be, [N, K]. Given the places of classes, of which each image has one, from
        a mixture of one such distribution for each class."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(len(self.mean), generator=generator) for generator in generators])
        covariance = self.within(group).covariance if group else self.covariance
        y = self.mean + (noise.double() @ torch.linalg.cholesky(_regular(covariance.double())).T).float()
        if not group:
            return y
        shares = self.together.diagonal()[[*group]]
        drawn = torch.cat([torch.multinomial(shares, 1, generator=generator) for generator in generators])
        return y + self._apart(group)[drawn]

    def _apart(self, group: Sequence[int]) -> Tensor:
        """How the mean outputs of classes differ from those of all images, [S, K]."""
        return (self.means[[*group]] - self.mean).nan_to_num()

    def far(self, y: Tensor) -> tuple[Tensor, float]:
        """Distances of targets [N, K] from the training outputs, [N], and the distance within which all but one in a
        hundred training images lie."""
        return _distance(y.double(), self.mean.double(), self.covariance.double()).float(), self.distance[99].item()


def _covariance(y: Tensor, has: Tensor | None = None) -> Tensor:
    """[K, K]; given which images have something, [N], they weigh as much, together, as those that don't."""
    weights = None
    if has is not None and 0 < has.sum() < len(has):
        weights = torch.where(has, 1 / has.sum(), 1 / (~has).sum())
    return torch.cov(y.T, aweights=weights).reshape(y.shape[1], y.shape[1])


def _regular(covariance: Tensor) -> Tensor:
    """A little of the mean variance on the diagonal: outputs can be so correlated that C is singular to rounding."""
    return covariance + 1e-4 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)


def _distance(y: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(_regular(covariance)), (y - mean).T, upper=False)
    return z.square().mean(0).sqrt()


def _quantiles(y: Tensor, among: Tensor, seen: Tensor) -> Tensor:
    """Quantiles of each column over the rows of a mask, where possible over those of another mask, too."""
    columns = []
    for k in range(y.shape[1]):
        some = among[:, k] & seen[:, k] if (among[:, k] & seen[:, k]).any() else among[:, k]
        values = y[some, k]
        columns.append(values.quantile(_LEVELS.double()) if len(values) else torch.full((101,), torch.nan).double())
    return torch.stack(columns, dim=1)
