"""One class of many."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from spnn.errors import InputError, nearest
from spnn.readout.base import Readout, Setting

__all__ = ["CLEARLY", "Classes"]

CLEARLY = 2.0
"""By how much a class that is set leads the others, of outputs."""


class Classes(Readout):
    """Scores of classes, of which an image has one; labels are 1 for that class and 0 for the others, decoded outputs
    are probabilities. To set a class is to set all scores: the others stay behind it.

    Arguments:
        names: Of the classes, at least two; they may begin with the group's, as in ``hair_blond``.
        group: What a class is set by, as in ``edit.set={class: cat}``, or ``{hair: blond}``.
    """

    noun, score, trivial, grouped = "class", "accuracy", "commonest class", True
    poles, flips = ("no", "yes"), ("yes",)

    def __init__(self, names: Sequence[str], group: str = "class"):
        super().__init__(names)
        if len(self.names) < 2 or group in self.names:
            raise InputError(f"classes need at least two names, none of them {group!r}, got {list(self.names)}.")
        self.group = group

    @property
    def plural(self) -> str:
        return "classes"

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, whose sum over classes is the usual one."""
        return -labels * y.log_softmax(-1)

    def metric(self) -> Metric:
        return _ClassAccuracy(len(self.names), average="none")

    def decode(self, y: Tensor) -> Tensor:
        """Probabilities; all are NaN where a score is."""
        return y.softmax(-1)

    def encode(self, labels: Tensor) -> Tensor:
        return labels.log()

    def shown(self, y: Tensor) -> Tensor:
        return y

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Of an image as a whole: whether the likeliest class is the same."""
        same = found.argmax(-1, keepdim=True) == wanted.argmax(-1, keepdim=True)
        return same.expand(torch.broadcast_shapes(found.shape, wanted.shape))

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        """The class that was, and the one that is."""
        return self.has(found) != self.has(other)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Of an image as a whole: the total variation between probabilities, in [0, 1]."""
        return ((found - wanted).abs().sum(-1, keepdim=True) / 2).expand_as(found - wanted)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of probabilities."""
        return -(target.softmax(-1) * y.log_softmax(-1)).sum()

    def baseline(self, labels: Tensor) -> Tensor:
        """The class that most images have."""
        return self.has(labels.mean(0)[None])[0].float()

    def has(self, decoded: Tensor) -> Tensor:
        return torch.zeros_like(decoded, dtype=torch.bool).scatter(-1, decoded.argmax(-1, keepdim=True), True)

    def groups(self, wanted: Tensor) -> list[Tensor]:
        """The images of each class: the mean is balanced accuracy."""
        return [self.has(wanted)]

    def check(self, labels: Tensor) -> None:
        super().check(labels)
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            row = (labels.sum(1) - 1).abs().argmax().item()
            raise InputError(
                f"labels of classes are 1 for the image's class and 0 for the others; those of image {row} are "
                f"{labels[row].tolist()[:10]}."
            )

    def read(self, name: str, value: float | str | bool) -> Setting:
        """``yes`` alone: an image that isn't of a class must be of another."""
        if value in (True, "yes"):
            return True
        raise InputError(f"{name} can't be {value!r}: set the {self.group} that it is, {self.group}: {name}.")

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """``{class: cat}``, or ``{cat: yes}``."""
        read = {}
        for name, value in values.items():
            if name == self.group:
                known = [name.removeprefix(f"{self.group}_") for name in self.names]
                if str(value) not in known:
                    hint = nearest(str(value), known) or f"; choose from {', '.join(known)}"
                    raise InputError(f"there is no {self.group} {value!r}{hint}.")
                name, value = self.names[known.index(str(value))], True
            read[self.place(str(name))] = self.read(str(name), value)
        if len(read) > 1:
            names = " and ".join(self.names[k] for k in read)
            raise InputError(f"an image has one {self.group}, but {names} are set.")
        return read

    def together(self, place: int) -> list[int]:
        return list(range(len(self.names)))

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """The class that was set has the largest score, by a clear margin."""
        for k in places:
            others = torch.arange(len(self.names)) != k
            y = torch.where(others, torch.minimum(y, y[:, [k]] - CLEARLY), y)
        return y

    def _has_output(self, place: int, output: float) -> bool:
        return True  # a class is only ever set to be there

    def said(self, place: int, value: Setting) -> str:
        return f"{self.group} {self.names[place].removeprefix(f'{self.group}_')}"

    def listed(self, mask: Tensor) -> list[str]:
        return [self.group] if mask.any() else []

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        return {self.group: self.words(y)} if mask.any() else {}

    def words(self, y: Tensor) -> str:
        """The likeliest class."""
        return "" if y.isnan().any() else self.names[int(y.argmax())]


class _ClassAccuracy(MulticlassAccuracy):
    def update(self, decoded: Tensor, labels: Tensor) -> None:
        super().update(decoded, labels.argmax(1))
