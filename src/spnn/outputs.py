r"""A network's outputs for images, and statistics of its outputs for training images, which targets are made from.

A target can't be reached if no image has such outputs. Logits of real labels are small, skewed and strongly correlated,
so a large number in one coordinate, with all others kept, asks for an image such as the network never saw.
:class:`TrainingOutputs` describes its outputs for the images that it did see:

- *typical* values of a coordinate: quantiles of its output among the training images in which the network sees it;
- how the other coordinates *follow* those that are set, :math:`S`: by the regression
  :math:`B_{\cdot S} B_{SS}^{-1} \Delta y_S`, where :math:`B` is the mean over :math:`S` of balanced covariances: the
  images that have the label get the same total weight as those that lack it. Otherwise the regression on a rare label
  would describe the images that lack it, and extrapolate far beyond those that have it;
- how *far* a target lies from the training outputs: the Mahalanobis distance
  :math:`\sqrt{(y - \mu)^\top C^{-1} (y - \mu) / K}`, about 1 for a training image;
- *random* outputs with that mean and covariance. If they then follow a setting, the result is a draw of the other
  coordinates given the set ones (Matheron's rule). If each image has one of several classes, they are drawn with the
  mean of one class and the covariance *within* classes, because no image shows half of one class and half of another;
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

MOST = 8192  # outputs; with more, matrices [K, K] would take gigabytes, so training outputs aren't described

_ENOUGH = 10_000  # training images are enough for quantiles and a covariance
_MANY = 128  # outputs; with more, K matrices [K, K] would take too much memory
_LEVELS = torch.linspace(0, 1, 101)


@torch.no_grad()
def outputs_of(network: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """Return a network's outputs for images, [N, C, H, W] -> [N, ...], on the CPU; the network is moved to the device
    that the process computes on."""
    device = working_device()
    network = network.to(device)
    return torch.cat([network(batch.to(device)).cpu() for batch in images.split(batch_size)])


@dataclass(frozen=True)
class TrainingOutputs:
    """Statistics of a network's K outputs for training images.

    Attributes:
        mean: The mean outputs, [K].
        range: The least and the largest output of each coordinate, [2, K].
        covariance: The outputs' covariance, [K, K].
        balanced: For each label, the covariance with equal total weight on the images that have it and on those that
            lack it, [K, K, K]; with many outputs, the covariance alone, [1, K, K].
        present: Quantiles of each output, in steps of 1 %, over the images that have the label and in which the network
            sees it, [101, K]; if there are none, over all images that have it; NaN if no image has it. For a number,
            over all images.
        absent: The same for images that lack the label.
        distance: Quantiles of the training images' own distances, [101].
        together: Shares of images that have both of two labels, [K, K]; on the diagonal, shares that have one label.
        whole: The images' mean :func:`~spnn.metrics.saturated` and :func:`~spnn.metrics.fine_energy`, [2]; NaN if only
            outputs are known.
        means: The mean outputs of the images that have each label, [K, K]; NaN if no image has it, or if an earlier
            version wrote the file.
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
        """Describe outputs [N, K] for images with labels [N, K] and, if it is known, how ``whole`` each is, [N, 2]."""
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
        """Describe a network's outputs for a source's training images: at most 10,000, evenly spread."""
        from spnn.data.module import collate, scale_to_unit_range  # here, because a list of runs needs no Lightning

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
        """Write the statistics to a file, in one step."""
        with replacing(path) as unfinished:
            save_file({field.name: getattr(self, field.name).contiguous() for field in fields(self)}, unfinished)

    @classmethod
    def load(cls, path: Path) -> "TrainingOutputs | None":
        """Read a file that :meth:`save` wrote; None if an earlier version wrote it with fewer statistics."""
        found = load_file(path)
        if "mean" in found:
            found.setdefault("means", torch.full([len(found["mean"])] * 2, torch.nan))
        return cls(**found) if found.keys() == {field.name for field in fields(cls)} else None

    def typical(self, place: int, has: bool, quantile: float) -> float:
        """Return the typical output of images that have (or lack) a label: the given quantile of how clearly they show
        it (or its absence). For a number, return a high (or low) value.

        Returns:
            An output; NaN if no training image has (or lacks) the label.
        """
        level = round(100 * (quantile if has else 1 - quantile))
        return (self.present if has else self.absent)[level, place].item()

    def follow(self, y: Tensor, places: Sequence[int], values: Tensor, share: float | Tensor = 1.0) -> Tensor:
        """Set coordinates, and let the others follow.

        Arguments:
            y: Outputs, [N, K].
            places: The places of S coordinates.
            values: The values to set them to, [N, S].
            share: How far the others follow, from 0 (they are kept) to 1 (their regression on the set ones); one share
                for all rows, or one per row, [N, 1].

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
        """Give images another class: their outputs move by the difference between the mean outputs of that class and
        those of the class that they show, so each image still differs from its class in the same way.

        Arguments:
            y: Outputs, [N, K].
            place: The place of the new class.
            group: The places of all classes; each image has one of them.
            all_follow: Whether the outputs outside the group move, too.

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
        """Set coordinates, and let the others follow only as far as necessary to bring the target within the distance
        of 99 in 100 training images. If no share achieves that, take the share that makes the target the likeliest.
        Arguments as in :meth:`follow`."""
        shares = torch.linspace(0, 1, 21)
        distances = torch.stack([self.far(self.follow(y, places, values, share.item()))[0] for share in shares])
        enough = distances <= self.distance[99]
        least = torch.where(enough.any(0), enough.int().argmax(0), distances.argmin(0))
        return self.follow(y, places, values, shares[least][:, None])

    def strangest(self, y: Tensor) -> tuple[int, float, float]:
        """Find which of the outputs [K] is the furthest from the value that the others suggest; return its place, the
        expected value, and the deviation from it among training images."""
        precision = torch.linalg.inv(_regular(self.covariance.double()))
        pull, own = precision @ (y.double() - self.mean.double()), precision.diagonal()
        k = int((pull.abs() / own.sqrt()).argmax())
        return k, (y[k].double() - pull[k] / own[k]).item(), own[k].rsqrt().item()

    def within(self, group: Sequence[int]) -> "TrainingOutputs":
        """The same statistics, but with the covariance of images about the mean of their class, one of ``group``."""
        apart = self._apart(group).double()
        between = (self.together.diagonal()[[*group]].double()[:, None] * apart).T @ apart
        covariance = (self.covariance - between).float()
        return replace(self, covariance=covariance, balanced=covariance[None])

    def random(self, seeds: Sequence[int], group: Sequence[int] = ()) -> Tensor:
        """Draw outputs from a normal distribution with the training images' mean and covariance: for each of N seeds,
        the outputs of one imaginary image, [N, K]. If ``group`` gives the places of classes, of which each image has
        one, draw from a mixture with one such distribution per class."""
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
        """Return the distances of targets [N, K] from the training outputs, [N], and the distance within which 99 in
        100 training images lie."""
        return _distance(y.double(), self.mean.double(), self.covariance.double()).float(), self.distance[99].item()


def _covariance(y: Tensor, has: Tensor | None = None) -> Tensor:
    """The covariance, [K, K]; given which images have a label, [N], these get the same total weight as the others."""
    weights = None
    if has is not None and 0 < has.sum() < len(has):
        weights = torch.where(has, 1 / has.sum(), 1 / (~has).sum())
    return torch.cov(y.T, aweights=weights).reshape(y.shape[1], y.shape[1])


def _regular(covariance: Tensor) -> Tensor:
    """Add a little of the mean variance to the diagonal, because outputs can be so correlated that C is numerically
    singular."""
    return covariance + 1e-4 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)


def _distance(y: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(_regular(covariance)), (y - mean).T, upper=False)
    return z.square().mean(0).sqrt()


def _quantiles(y: Tensor, among: Tensor, seen: Tensor) -> Tensor:
    """Quantiles of each column over the rows that are in one mask and, if there are any such rows, in another, too."""
    columns = []
    for k in range(y.shape[1]):
        some = among[:, k] & seen[:, k] if (among[:, k] & seen[:, k]).any() else among[:, k]
        values = y[some, k]
        columns.append(values.quantile(_LEVELS.double()) if len(values) else torch.full((101,), torch.nan).double())
    return torch.stack(columns, dim=1)
