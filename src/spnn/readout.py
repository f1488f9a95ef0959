r"""What the coordinates of ``y = g(x)`` say: how they are trained, compared, set and worded.

Everything else takes ``y`` for a tensor. A readout knows that its coordinates are logits of yes-or-no answers
(:class:`Binary`) or values (:class:`Values`); another kind of ``y`` is another subclass, which a source of images names
as its ``readout``.

A network's outputs ``y`` and the labels of images need not be of one kind: *decoded* outputs are what can be held
against labels, and against each other.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric
from torchmetrics.classification import BinaryAccuracy, MultilabelAccuracy

from spnn.errors import InputError

__all__ = ["LOGITS", "VALUES", "Binary", "Readout", "Setting", "Values"]

_LARGEST = 1000  # logit: far beyond any network's, and far from overflow

Setting = float | bool
"""What a coordinate is set to: a value of ``y``; or True or False, as images with or without it typically show."""


class Readout(ABC):
    """What K outputs say.

    Arguments:
        names: Of the coordinates, if they are to be trained, set or shown by name.

    Raises:
        InputError: If the names repeat, or are one string.
    """

    score: ClassVar[str]
    """What :meth:`metric` is called in logs."""
    noun: ClassVar[str]
    """What a coordinate is called in texts."""
    trivial: ClassVar[str]
    """What :meth:`baseline` is called in tables."""
    grouped = False
    """Whether images have a coordinate or lack it, so that either group can be weighed alike."""

    @property
    def plural(self) -> str:
        """What several are called."""
        return f"{self.noun}s"

    def __init__(self, names: Sequence[str] = ()):
        if isinstance(names, str) or len(set(names)) < len(names):
            raise InputError(f"a readout's names are a list without repeats, got {names!r}.")
        self.names = tuple(names)

    @abstractmethod
    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """The training loss of outputs [B, K] with labels [B, K], each, [B, K]."""

    @abstractmethod
    def metric(self) -> Metric:
        """How well outputs predict labels: ``update(decoded, labels)``, then ``compute()``, of each
        coordinate, [K]."""

    def decode(self, y: Tensor) -> Tensor:
        """Outputs in the labels' unit, in the shape of ``y``."""
        return y

    @abstractmethod
    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Where decoded outputs say the same as others, or as labels: a mask."""

    def gap(self, y: Tensor, target: Tensor) -> Tensor:
        """How far each output is from its target, decoded: the unit of guidance's stop rule."""
        return (self.decode(y) - self.decode(target)).abs()

    @abstractmethod
    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """How far outputs are from their targets, added up: what guidance by gradients descends."""

    @abstractmethod
    def baseline(self, labels: Tensor) -> Tensor:
        """The best answer without any image, by training labels [N, K]: decoded, [K]."""

    @abstractmethod
    def read(self, name: str, value: float | str | bool) -> Setting:
        """Read what a user sets a coordinate to.

        Raises:
            InputError: If it can't be that.
        """

    def doubt(self, name: str, value: float | str | bool) -> str | None:
        """What a user may have meant otherwise by a value that can be read."""
        return None

    @abstractmethod
    def words(self, y: Mapping[str, float]) -> str:
        """Some coordinates, by name, in words."""


class Binary(Readout):
    """Logits of yes-or-no answers, independent of each other; labels are 0 or 1, decoded outputs probabilities."""

    noun, score, trivial, grouped = "attribute", "accuracy", "majority", True

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.binary_cross_entropy_with_logits(y, labels, reduction="none")

    def metric(self) -> Metric:
        return MultilabelAccuracy(len(self.names), average="none") if len(self.names) > 1 else BinaryAccuracy()

    def decode(self, y: Tensor) -> Tensor:
        return y.sigmoid()

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        return (found > 0.5) == (wanted > 0.5)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        r"""Cross-entropy of probabilities: :math:`\sum_k \mathrm{KL}(\sigma(t_k) \| \sigma(y_k))` and a constant."""
        return F.binary_cross_entropy_with_logits(y, target.sigmoid(), reduction="sum")

    def baseline(self, labels: Tensor) -> Tensor:
        """What most images have."""
        return (labels.mean(0) > 0.5).float()

    def read(self, name: str, value: float | str | bool) -> Setting:
        """``yes`` or ``no``, a number (a logit), or ``"90%"`` (the probability 0.9)."""
        if isinstance(value, bool) or value in ("yes", "no"):  # YAML reads a bare yes as true
            return value in (True, "yes")
        if value == 0 or (isinstance(value, str) and re.fullmatch(r"\s*50(\.0*)?\s*%\s*", value)):
            raise InputError(f"{name} can't be {value}: a logit of 0, or 50 %, says neither yes nor no.")
        if isinstance(value, int | float) and abs(value) <= _LARGEST:
            return float(value)
        if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*", value)):
            probability = float(match[1]) / 100
            if 0 < probability < 1:
                return math.log(probability / (1 - probability))
            raise InputError(
                f"{name} can't be {value}: a probability lies between 0 and 100 %, both excluded; try 99%."
            )
        raise InputError(
            f"the value of {name} must be yes or no, a logit (a number such as 4, at most {_LARGEST} either way), or a "
            f"probability such as 98%; got {value!r}."
        )

    def doubt(self, name: str, value: float | str | bool) -> str | None:
        if isinstance(value, float) and 0 < value < 1:
            probability = 1 / (1 + math.exp(-value))
            return (
                f"{name}: {value:g} is a logit, a probability of {probability:.0%}; the probability {value:g} is "
                f"written {100 * value:g}%."
            )
        return None

    def words(self, y: Mapping[str, float]) -> str:
        return ", ".join(name for name, logit in y.items() if logit > 0)


class Values(Readout):
    """Numbers as they are, such as measurements of an image.

    Arguments:
        names: As in :class:`Readout`.
        tolerance: Two values agree that differ by at most this.
    """

    noun, score, trivial = "value", "error", "mean"

    def __init__(self, names: Sequence[str] = (), tolerance: float = 0.1):
        super().__init__(names)
        if isinstance(tolerance, str) or not tolerance >= 0:
            raise InputError(f"tolerance must be a number of at least 0, got {tolerance!r}.")
        self.tolerance = tolerance

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Half the squared difference."""
        return (y - labels).square() / 2

    def metric(self) -> Metric:
        return MeanAbsoluteError(num_outputs=len(self.names))

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        return (found - wanted).abs() <= self.tolerance

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """Half the squared distance."""
        return (y - target).square().sum() / 2

    def baseline(self, labels: Tensor) -> Tensor:
        """The mean."""
        return labels.mean(0)

    def read(self, name: str, value: float | str | bool) -> Setting:
        """A finite number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the value of {name} must be a finite number, got {value!r}.")
        return float(value)

    def words(self, y: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in y.items())


LOGITS, VALUES = Binary(), Values()
"""Of coordinates without names."""
