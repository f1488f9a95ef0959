r"""Boxes around objects, stored as maps of their centres and sizes.

Each cell of a grid has, for each class, the logit that an object's centre lies in it; it also has the object's width
and height, and where in the cell the centre is. This makes a network that ends in maps (``grid`` of
:class:`~spnn.networks.network.SPNN`) a detector, and its pseudo-inverse draws pictures from boxes. With the probability
:math:`p` of a cell and the target :math:`Y`, which is 1 at a centre and falls off around it as a Gaussian, the maps of
centres are trained by

.. math::
    -\frac{1}{N} \sum \begin{cases} (1 - p)^2 \log p & Y = 1 \\ (1 - Y)^4 p^2 \log(1 - p) & \text{else,} \end{cases}

and size and offset by their absolute error where there is a centre.

References:
    Objects as Points (Zhou et al., 2019), https://arxiv.org/abs/1904.07850 (the loss, and a box's peak)
    CornerNet (Law and Deng, 2018), https://arxiv.org/abs/1808.01244 (the radius of the Gaussian)
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.detection import MeanAveragePrecision
from torchvision.utils import draw_bounding_boxes

from spnn.errors import InputError, choice
from spnn.readout.base import Setting
from spnn.readout.binary import Binary
from spnn.readout.colours import colours
from spnn.readout.mixed import Mixed
from spnn.readout.values import Values

__all__ = ["Boxes"]

_SIZE_WEIGHT = 12.8  # weight of an error given as a share of the picture: 0.1 for each of 128 cells, as published
_OVERLAP = 0.7  # between a box and the same box moved by the radius of its Gaussian
_FAINT = 0.01  # least score at which a box counts for the mean average precision
_THERE, _GONE = 2.5, -5.0  # logits of objects that are added and removed: 92 % and 1 %
_BEHIND = 2.0  # how far a centre's neighbours stay below it, because an object has only one centre
_POINT, _BOX = "<x> <y>", "<class> <x> <y> <width> <height>"
_Object = tuple[str, float, float, float, float]  # class, centre across and down, width, height
_FOUR = ("width", "height", "offset_x", "offset_y")


class Boxes(Mixed):
    """Objects of R classes in a grid: R maps of centre logits, then maps of the box's width and height, as shares of
    the picture, and of the centre's offset from its cell's left and upper edge, as shares of the cell. All maps are
    stored row by row, with names such as ``dog[2,3]``, ``width[2,3]``, ``offset_x[2,3]`` (row and column, from 0):
    ``K = (R + 4) height width``.

    Labels are 1 at a centre and 0 in the other cells. The Gaussian around a centre belongs to the loss, so that labels
    hold only what a source knows. Width, height and offset are 0 where there is no centre; the loss and all comparisons
    ignore them there.

    Objects are set as in ``{add: dog 0.5 0.5 0.3 0.4}`` (centre across and down, width, height) and
    ``{remove: 0.5 0.5}`` (the object with its centre in that cell, or in one beside it); to move an object, do both.
    Several objects are joined by ``and``.

    Arguments:
        classes: The classes' names.
        height, width: Cells down and across.

    Raises:
        InputError: If there is no class, a name is repeated, or the grid is empty.
    """

    noun, score, trivial, poles, by_hand = "output", "map_50", "no box", ("no", "yes"), "objects"

    def __init__(self, classes: Sequence[str], height: int, width: int):
        if not classes or isinstance(classes, str) or min(height, width) < 1:
            raise InputError(f"boxes need a list of classes and a grid of cells, got {classes!r}, {height}x{width}.")
        if len(set(classes)) < len(classes) or (reserved := sorted({*classes} & {*_FOUR})):
            clash = "none twice" if len(set(classes)) < len(classes) else f"none called {reserved[0]}"
            raise InputError(f"the classes of boxes need names of their own, {clash}, got {', '.join(classes)}.")
        cells = list(np.ndindex(height, width))
        named = {name: [f"{name}[{row},{column}]" for row, column in cells] for name in (*classes, *_FOUR)}
        self.classes = self.choices = tuple(classes)
        self.height, self.width = height, width
        self.grid = (height, width)
        sizes, offsets = [*named["width"], *named["height"]], [*named["offset_x"], *named["offset_y"]]
        self.centres = _Centres([name for kind in classes for name in named[kind]], height, width)
        super().__init__([self.centres, _Shares(sizes, tolerance=0.1), _Shares(offsets, tolerance=0.5)])
        self.count = len(classes) * height * width  # number of coordinates that are centres

    def maps(self, y: Tensor) -> Tensor:
        """Reshape coordinates [..., K] to [..., R + 4, height, width]."""
        return y.unflatten(-1, (-1, self.height, self.width))

    def labels_of(self, boxes: Tensor, classes: Sequence[int]) -> Tensor:
        """The labels [K] of a picture. If several boxes have their centre in the same cell, the largest is kept.

        Arguments:
            boxes: Left, upper, right and lower edge, as shares of the picture, [n, 4].
            classes: The number of each box's class, [n].
        """
        labels = torch.zeros(len(self.names))
        maps = self.maps(labels)
        sizes = boxes[:, 2:] - boxes[:, :2]
        for i in sizes.prod(1).argsort().tolist():
            x, y = ((boxes[i, :2] + boxes[i, 2:]) / 2).tolist()
            row, column = self.cell(x, y)
            maps[: len(self.classes), row, column] = 0
            maps[classes[i], row, column] = 1
            offset = x * self.width - column, y * self.height - row
            maps[-4:, row, column] = torch.tensor([*sizes[i].tolist(), *offset])
        return labels

    def boxes(self, decoded: Tensor, least: float = 0.5, most: int = 100) -> list[dict[str, Tensor]]:
        """The boxes of pictures. A cell is a centre if none of the eight cells around it has a higher score.

        Arguments:
            decoded: Decoded outputs, or labels, [N, K].
            least: The lowest score of a box.
            most: Maximum number of boxes per picture; those with the highest scores are kept.

        Returns:
            For each picture ``boxes`` [n, 4], the left, upper, right and lower edge in [0, 1], ``scores`` [n], highest
            first, ``labels`` [n], the numbers of the classes, and ``cells`` [n].
        """
        found = []
        peaks = self.maps(self.centres.peaks(decoded[:, : self.count], least))
        for maps, peak in zip(self.maps(decoded), peaks, strict=True):
            number, row, column = peak.nonzero(as_tuple=True)
            scores, order = maps[number, row, column].sort(descending=True)
            number, row, column = (places[order[:most]] for places in (number, row, column))
            sizes, offsets = maps[-4:, row, column].split(2)
            cells = torch.tensor([[self.width], [self.height]], device=maps.device)
            middle = (torch.stack([column, row]) + offsets) / cells
            half = sizes.clamp(min=0) / 2
            edges = torch.cat([middle - half, middle + half]).T.clamp(0, 1)
            place = row * self.width + column
            found.append({"boxes": edges, "scores": scores[:most], "labels": number, "cells": place})
        return found

    def mirrored(self, labels: Tensor) -> Tensor:
        """Labels [..., K] of mirrored pictures."""
        maps = self.maps(labels).flip(-1)
        there = maps[..., : len(self.classes), :, :].amax(-3) > 0
        maps[..., -2, :, :] = torch.where(there, 1 - maps[..., -2, :, :], 0)
        return maps.flatten(-3)

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Row and column of the cell that contains a point, given in [0, 1] across and down."""
        return min(int(y * self.height), self.height - 1), min(int(x * self.width), self.width - 1)

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Focal loss of centres, absolute errors of size and offset at centres; all divided by the mean number of
        objects in the batch's pictures."""
        logits, there = y[:, : self.count], labels[:, : self.count]
        p, splat = logits.sigmoid(), self._splat(labels)
        centres = -((1 - p) ** 2) * F.logsigmoid(logits)
        others = -((1 - splat) ** 4) * p**2 * F.logsigmoid(-logits)
        losses = [torch.where(there == 1, centres, others)]
        for part, place, weight in zip(self.parts[1:], self.slices[1:], (_SIZE_WEIGHT, 1.0), strict=True):
            losses.append(weight * (part.decode(y[:, place]) - labels[:, place]).abs())
        tells = self._tells(labels)
        return torch.cat(losses, dim=1) * tells / (there.sum() / len(y)).clamp(min=1)

    def _splat(self, labels: Tensor) -> Tensor:
        """The Gaussians around the centres of labels [B, K], their maximum where they overlap: [B, R height width]."""
        maps, kinds = self.maps(labels), len(self.classes)
        image, number, row, column = maps[:, :kinds].nonzero(as_tuple=True)
        across, down = maps[image, kinds, row, column] * self.width, maps[image, kinds + 1, row, column] * self.height
        total, shrunk = across + down, across * down * (1 - _OVERLAP) / (1 + _OVERLAP)
        radius = (total - (total.square() - 4 * shrunk).clamp(min=0).sqrt()) / 2
        sigma = (2 * radius + 1) / 6
        rows = torch.arange(self.height, device=row.device) - row[:, None]
        columns = torch.arange(self.width, device=row.device) - column[:, None]
        squares = rows[:, :, None] ** 2 + columns[:, None] ** 2
        gaussians = torch.exp(-squares / (2 * sigma.square())[:, None, None])
        splat = torch.zeros(len(labels) * kinds, *maps.shape[-2:], device=labels.device, dtype=gaussians.dtype)
        maps_of = (image * kinds + number)[:, None, None].expand_as(gaussians)
        return splat.scatter_reduce(0, maps_of, gaussians, "amax").reshape(len(labels), -1)

    def _tells(self, wanted: Tensor) -> Tensor:
        """Which decoded outputs [..., K] have a meaning: size and offset only where there is, or may be, a centre."""
        heat = wanted[..., : self.count]
        cells = self.maps(self.centres.has(heat) | heat.isnan()).any(-3, keepdim=True)
        shape = (*cells.shape[:-3], 4, self.height, self.width)
        return torch.cat([torch.ones_like(heat, dtype=torch.bool), cells.expand(shape).flatten(-3)], dim=-1)

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Centres agree if both or neither have one in the cell. Sizes and offsets agree within their tolerance, or
        if no centre is wanted."""
        return super().agrees(found, wanted) | ~self._tells(wanted)

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        return ~self.agrees(found, other)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """0 for size and offset where no centre is wanted."""
        return torch.where(self._tells(wanted), super().error(found, wanted), 0)

    def gap(self, y: Tensor, target: Tensor) -> Tensor:
        """The largest error of each cell, weighted by the probability of a centre there, in either picture. Most cells
        have no centre, so a plain mean over all of them would call a picture that lacks an object almost right."""
        found, wanted = self.decode(y), self.decode(target)
        errors = self.maps(self.error(found, wanted)).amax(-3, keepdim=True)
        weights = self.maps(torch.maximum(found, wanted))[..., : len(self.classes), :, :].amax(-3, keepdim=True)
        gaps = errors * weights / weights.mean((-2, -1), keepdim=True).clamp(min=1e-9)
        return gaps.expand(*gaps.shape[:-3], len(self.classes) + 4, -1, -1).flatten(-3)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of centres, plus half the squared errors of size and offset where the target has a centre."""
        tells, n = self._tells(self.decode(target))[..., self.count :], self.count
        squares = (y[..., n:] - target[..., n:]).square() / 2
        return self.centres.energy(y[..., :n], target[..., :n]) + (squares * tells).sum()

    def metric(self) -> Metric:
        """Average precision of each class at an overlap of 0.5, as in Pascal VOC, and its mean over overlaps of 0.5,
        0.55, ..., 0.95, as in COCO: [2 R], NaN where no picture has the class.

        Raises:
            InputError: If pycocotools, which computes it, isn't installed.
        """
        try:
            return _Precision(self)
        except ModuleNotFoundError:
            raise InputError(
                "the mean average precision of boxes needs pycocotools: pip install 'spnn[detection]'."
            ) from None

    @property
    def scored(self) -> tuple[str, ...]:
        return self.classes * 2

    def by_score(self, values: Tensor) -> dict[str, dict[str, Tensor]]:
        """``map_50`` and ``map``, without the classes that no picture has, because the mean leaves them out."""
        scores = {}
        for kind, some in zip(("map_50", "map"), values.chunk(2), strict=True):
            known = {name: value for name, value in zip(self.classes, some, strict=True) if not value.isnan()}
            scores[kind] = known or {self.classes[0]: values.new_zeros(())}
        return scores

    def baseline(self, labels: Tensor) -> Tensor:
        """No box."""
        return torch.zeros_like(labels[0])

    def groups(self, wanted: Tensor) -> list[Tensor]:
        """The images with a centre in a cell, and those without one."""
        has, tells = self.centres.has(wanted[:, : self.count]), self._tells(wanted)[:, self.count :]
        return [torch.cat([has, tells], dim=1), torch.cat([~has, torch.zeros_like(tells)], dim=1)]

    def check(self, labels: Tensor) -> None:
        super().check(labels)
        heat, four = self.maps(labels).split([len(self.classes), 4], dim=1)
        sizes, offsets = four.transpose(1, -1)[heat.amax(1).transpose(1, 2) == 1].split(2, dim=1)
        sound = ((heat == 0) | (heat == 1)).all() and ((sizes > 0) & (sizes <= 1)).all()
        if not (sound and ((offsets >= 0) & (offsets <= 1)).all()):
            raise InputError(
                "labels of boxes are 1 at centres and 0 elsewhere, with a width and a height in (0, 1] and offsets in "
                "[0, 1] there; these are not: Boxes.labels_of(boxes, classes) makes them."
            )

    @property
    def keys(self) -> tuple[str, ...]:
        return ("add", "remove", *self.names)

    def takes(self, key: str) -> bool:
        return key in ("add", "remove") or super().takes(key)

    def place(self, name: str) -> int:
        if name not in self.names:
            raise InputError(
                f"there is no {name!r}: add and remove set boxes, and {self.names[0]}, ... single outputs."
            )
        return self.names.index(name)

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """``{add: dog 0.5 0.5 0.3 0.4 and cat 0.2 0.3 0.2 0.2}``, ``{remove: 0.5 0.5}``, ``{"dog[2,3]": 2.5}``."""
        read = super().settings({name: value for name, value in values.items() if name not in ("add", "remove")})
        columns, added = torch.arange(len(self.names)).reshape(-1, self.height, self.width), set()
        for _, (x, y) in self._objects("remove", values, _POINT):
            row, column = self.cell(x, y)
            read |= dict.fromkeys(columns[: len(self.classes), row, column].tolist(), _GONE)
        for kind, (x, y, width, height) in self._objects("add", values, _BOX):
            if kind not in self.classes:
                raise InputError(f"there is no class {kind!r}{choice(kind, self.classes)}.")
            if min(width, height) == 0:
                raise InputError(f"a box has a width and a height above 0, got {width:g} and {height:g}.")
            row, column = self.cell(x, y)
            if (row, column) in added:
                raise InputError(f"a cell has one object, but several are added to [{row},{column}].")
            added.add((row, column))
            half = torch.tensor([width, height]) / 2
            box = torch.cat([torch.tensor([x, y]) - half, torch.tensor([x, y]) + half])
            labels = self.labels_of(box[None], [self.classes.index(kind)])
            outputs = self.encode(labels).clamp(_GONE, _THERE)
            read |= {k: outputs[k].item() for k in columns[:, row, column].tolist()}
        return read

    def _objects(self, key: str, values: Mapping, form: str) -> Iterator[tuple[str, list[float]]]:
        """For each object that is added or removed: its class, if the form has one, and its numbers in [0, 1]."""
        named = "<class>" in form
        count = len(form.split()) - named
        for text in str(values[key]).split(" and ") if key in values else ():
            parts = text.split()
            numbers = [number for part in parts[-count:] if (number := _share(part)) is not None]
            if len(numbers) < count or bool(parts[:-count]) != named:
                raise InputError(f"{key}: {form}, shares of the picture from 0 to 1, joined by `and`; got {text!r}.")
            yield " ".join(parts[:-count]), numbers

    def seen(self, y: Tensor) -> tuple[_Object, ...]:
        """The objects, rounded to two decimals."""
        there = [text for _, text in self._worded(y)]
        return self.edited((), {"add": " and ".join(there)} if there else {})

    def edit(self, own: Sequence[_Object], wanted: Sequence[_Object]) -> dict[str, float | str]:
        before, after = list(map(_words, own)), list(map(_words, wanted))
        gone = [f"{x:.2f} {y:.2f}" for text, (_, x, y, *_) in zip(before, own, strict=True) if text not in after]
        said = {"remove": gone, "add": [text for text in after if text not in before]}
        values: dict[str, float | str] = {key: " and ".join(some) for key, some in said.items() if some}
        self.settings(values)  # raises an error if something is wrong
        return values

    def edited(self, own: Sequence[_Object], values: Mapping[str, float | str]) -> tuple[_Object, ...]:
        gone = [point for _, point in self._objects("remove", values, _POINT)]
        added = [(kind, *four) for kind, four in self._objects("add", values, _BOX)]
        return (*(one for one in own if [*one[1:3]] not in gone), *added)  # type: ignore[arg-type]  # four numbers

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """Cells beside an object that was added are no centres of the same class; nor are those beside a cell that was
        cleared."""
        y = y.clone()
        heat, mine = y[:, : self.count], torch.zeros(self.count, dtype=torch.bool, device=y.device)
        mine[[k for k in places if k < self.count]] = True
        heat, mine = self.maps(heat), self.maps(mine)
        for number, row, column in mine.nonzero().tolist():
            value = heat[:, number, row, column]
            near = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
            taken = (heat[:, mine[:, row, column], row, column] > 0).any(1)  # by another class: neighbours may stay
            most = torch.where(value > 0, value - _BEHIND, torch.where(taken, math.inf, value))[:, None, None]
            around = heat[:, number, *near]
            heat[:, number, *near] = torch.where(mine[number, *near], around, torch.minimum(around, most))
        return y

    def listed(self, mask: Tensor) -> list[str]:
        """The cells that a mask [K] selects."""
        return [f"[{row},{column}]" for row, column in self.maps(mask).any(0).nonzero().tolist()]

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        """The values that add the boxes in the mask's cells, and clear those of its cells that have no box."""
        there = dict(self._worded(y))
        cells = self.maps(mask).any(0).flatten().nonzero().squeeze(1).tolist()
        middles = {
            cell: f"{(cell % self.width + 0.5) / self.width:.3g} {(cell // self.width + 0.5) / self.height:.3g}"
            for cell in cells
        }
        said = {
            "add": [there[cell] for cell in cells if cell in there],
            "remove": [middles[cell] for cell in cells if cell not in there],
        }
        return {key: " and ".join(some) for key, some in said.items() if some}

    def words(self, y: Tensor) -> str:
        """The boxes, in the form in which they are added; boxes that aren't completely known are left out."""
        return ", ".join(text for _, text in self._worded(y) if "nan" not in text)

    @property
    def legend(self) -> dict[str, tuple[float, float, float]]:
        return colours(self.classes)

    def picture(self, y: Tensor) -> Tensor:
        """The boxes' outlines, with eight pixels per cell, [N, 3, 8 height, 8 width]."""
        height, width = 8 * self.height, 8 * self.width
        scale = torch.tensor([width, height, width, height])
        paints, pictures = [tuple(round(255 * part) for part in colour) for colour in self.legend.values()], []
        for found in self.boxes(self.decode(y)):
            picture = torch.zeros(3, height, width, dtype=torch.uint8)
            if len(found["boxes"]):
                of_each = [paints[kind] for kind in found["labels"].tolist()]
                picture = draw_bounding_boxes(picture, found["boxes"].cpu() * scale, colors=of_each)
            pictures.append(picture / 127.5 - 1)
        return torch.stack(pictures)

    def _worded(self, y: Tensor) -> list[tuple[int, str]]:
        """The cell and the text of each box in outputs [K]."""
        (found,) = self.boxes(self.decode(y)[None])
        worded = []
        for cell, kind, edges in zip(*(found[key].tolist() for key in ("cells", "labels", "boxes")), strict=True):
            left, upper, right, lower = edges
            numbers = (left + right) / 2, (upper + lower) / 2, right - left, lower - upper
            worded.append((cell, _words((self.classes[kind], *numbers))))
        return worded


def _words(one: _Object) -> str:
    """An object, in the form in which it is added."""
    kind, *four = one
    return " ".join([kind, *(f"{number:.2f}" for number in four)])


def _share(text: str) -> float | None:
    """The number that a text gives, if it lies in [0, 1]; otherwise None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


class _Centres(Binary):
    """Logits of R maps of centres. An image has a centre where the probability is above one half and the largest among
    the cells around it. A centre is only ever set together with its whole box."""

    flips = ()

    def __init__(self, names: Sequence[str], height: int, width: int):
        super().__init__(names)
        self.height, self.width = height, width

    def peaks(self, decoded: Tensor, least: float) -> Tensor:
        maps = decoded.nan_to_num(-1).reshape(-1, self.height, self.width)
        return ((maps == F.max_pool2d(maps, 3, 1, 1)) & (maps > least)).reshape(decoded.shape)

    def has(self, decoded: Tensor) -> Tensor:
        return self.peaks(decoded, 0.5)

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        return self.has(found) == self.has(wanted)


class _Shares(Values):
    """Shares in [0, 1] that are only set together with a centre."""

    flips = ()

    def __init__(self, names: Sequence[str], tolerance: float):
        super().__init__(names, tolerance, dict.fromkeys(names, (0.0, 1.0)))


class _Precision(MeanAveragePrecision):
    def __init__(self, readout: Boxes):
        super().__init__(extended_summary=True)
        self.readout = readout

    def update(self, decoded: Tensor, labels: Tensor) -> None:  # type: ignore[override]  # as any readout's metric
        super().update(self.readout.boxes(decoded.float(), _FAINT), self.readout.boxes(labels.float()))

    def compute(self) -> Tensor:  # type: ignore[override]  # as any readout's metric
        found = super().compute()
        precision = found["precision"][:, :, :, 0, -1].mean(1)  # thresholds, classes; -1 where no picture has the class
        scores = torch.full((2, len(self.readout.classes)), torch.nan)
        scores[:, found["classes"].reshape(-1).long()] = torch.stack([precision[0], precision.mean(0)]).float()
        return scores.masked_fill(scores < 0, torch.nan).flatten().to(self.device)
