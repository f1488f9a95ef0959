"""Yes-or-no answers, such as the forty attributes of a face."""

import math
import re

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAccuracy, MultilabelAccuracy

from spnn.errors import InputError
from spnn.readout.base import Readout, Setting

__all__ = ["LOGITS", "Binary"]

_LARGEST = 1000  # logit: far beyond any network's output, and far from overflow


class Binary(Readout):
    """Logits of independent yes-or-no answers. Labels are 0 or 1, and decoded outputs are probabilities; users read and
    set logits."""

    noun, score, trivial, grouped = "attribute", "accuracy", "majority", True
    poles = ("no", "yes")
    flips: tuple[str, ...] = poles

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.binary_cross_entropy_with_logits(y, labels, reduction="none")

    def metric(self) -> Metric:
        return MultilabelAccuracy(len(self.names), average="none") if len(self.names) > 1 else BinaryAccuracy()

    def decode(self, y: Tensor) -> Tensor:
        return y.sigmoid()

    def encode(self, labels: Tensor) -> Tensor:
        return labels.logit()

    def shown(self, y: Tensor) -> Tensor:
        return y

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        return (found > 0.5) == (wanted > 0.5)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        r"""Cross-entropy of probabilities: :math:`\sum_k \mathrm{KL}(\sigma(t_k) \| \sigma(y_k))` plus a constant."""
        return F.binary_cross_entropy_with_logits(y, target.sigmoid(), reduction="sum")

    def baseline(self, labels: Tensor) -> Tensor:
        """The answers of most images."""
        return (labels.mean(0) > 0.5).float()

    def has(self, decoded: Tensor) -> Tensor:
        return decoded > 0.5

    def groups(self, wanted: Tensor) -> list[Tensor]:
        return [self.has(wanted), ~self.has(wanted)]

    def check(self, labels: Tensor) -> None:
        super().check(labels)
        if ((labels < 0) | (labels > 1)).any():
            row, k = ((labels < 0) | (labels > 1)).nonzero()[0].tolist()
            raise InputError(
                f"the label {self.names[k]} of image {row} is {labels[row, k].item():g}, but yes-or-no labels are 0 or "
                "1. Numbers need another readout, such as spnn.readout.Values(label_names)."
            )

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

    def number(self, place: int, value: float) -> str:
        return f"{value:+.3g}"

    def words(self, y: Tensor) -> str:
        """The names of the attributes that are present."""
        return ", ".join(name for name, logit in zip(self.names, y.tolist(), strict=True) if logit > 0)


LOGITS = Binary()
"""The readout for coordinates without names."""
