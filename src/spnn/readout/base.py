"""The interface of all kinds of ``y``, with what most of them share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from spnn.errors import InputError, choice

__all__ = ["Readout", "Setting", "checked"]

Setting = float | bool
"""What a coordinate is set to: an output; or True or False, as training images that have it, or lack it, show it."""


class Readout(ABC):
    """What K outputs say.

    Three spaces meet here. *Outputs* are what the network gives, and what guidance works with. *Labels* are what a
    source of images says of them, in the user's unit. :meth:`decode` takes outputs to labels' space, where both are
    compared, and :meth:`encode` takes labels to outputs. A subclass must say how outputs are trained (:meth:`loss`) and
    when two decoded ones are the same (:meth:`agrees`); all else has a default.

    Arguments:
        names: Of the coordinates, if they are to be trained, set or shown by name.

    Raises:
        InputError: If the names repeat, or are one string.
    """

    noun: str = "output"
    """What a coordinate is called in texts."""
    score: str = "error"
    """What :meth:`metric` is called in logs."""
    trivial: str = "mean"
    """What :meth:`baseline` is called in tables."""
    grouped: bool = False
    """Whether an image has a coordinate or lacks it."""
    poles: tuple[str, str] = ("low", "high")
    """What False and True are called, as values that a coordinate is set to."""
    flips: tuple[str, ...] = ("low", "high")
    """What a study of edits sets each coordinate to; nothing where they are only set together."""

    grid: tuple[int, int] | None = None
    """Rows and columns, where outputs are maps, one after the other."""

    by_hand: Literal["numbers", "choice", "map", "objects"] = "numbers"
    """How labels are set in an editor: each by its number; or together, as one of :attr:`choices`, as a map of them to
    paint on, or as a list of objects. What is set together has :meth:`seen`, :meth:`edit` and :meth:`edited`."""
    choices: tuple[str, ...] = ()
    """The classes of what is set together."""

    @property
    def plural(self) -> str:
        """What several coordinates are called."""
        return f"{self.noun}s"

    def __init__(self, names: Sequence[str] = ()):
        if isinstance(names, str) or len(set(names)) < len(names):
            raise InputError(f"a readout's names are a list without repeats, got {names!r}.")
        self.names = tuple(names)

    @abstractmethod
    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """The training loss of outputs [B, K] with labels [B, K]: of each, [B, K]."""

    @abstractmethod
    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Where decoded outputs [..., K] say the same as others, or as labels: a mask, [..., K]."""

    def decode(self, y: Tensor) -> Tensor:
        """Outputs [..., K] in the labels' unit. A coordinate that is NaN leaves the others as they are."""
        return y

    def encode(self, labels: Tensor) -> Tensor:
        """The outputs [..., K] that are decoded to such labels, for numbers that a user sets."""
        return labels

    def shown(self, y: Tensor) -> Tensor:
        """Outputs [..., K] in the unit in which users read and set them."""
        return self.decode(y)

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        """Which coordinates changed from decoded outputs [..., K] to others: a mask, [..., K]."""
        return ~self.agrees(found, other)

    def level(self, y: Tensor) -> Tensor:
        """Outputs [..., K] as shares from 0 (absent, low) to 1 (present, high), for pictures."""
        return self.decode(y).clamp(0, 1)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """How far decoded outputs are from others, or from labels: [..., K]. As a share of the range that there is, so
        that errors of several coordinates can be averaged, and a guidance's ``stop`` means the same for all."""
        return (found - wanted).abs()

    def gap(self, y: Tensor, target: Tensor) -> Tensor:
        """How far each output is from its target, [..., K]: what guidance's stop rule looks at."""
        return self.error(self.decode(y), self.decode(target))

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """How far outputs are from their targets, added up: what guidance by gradients descends."""
        return (y - target).square().sum() / 2

    def metric(self) -> Metric:
        """How well outputs predict labels: ``update(decoded, labels)``, then ``compute()``, of each of
        :attr:`scored`; NaN where nothing can be said."""
        return _MeanError(self)

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of what :meth:`metric` computes."""
        return self.names

    def by_score(self, values: Tensor) -> dict[str, dict[str, Tensor]]:
        """What :meth:`metric` has computed, by the kind of score and by name."""
        return {self.score: dict(zip(self.scored, values, strict=True))}

    def baseline(self, labels: Tensor) -> Tensor:
        """The best answer without any image, by training labels [N, K]: decoded, [K]."""
        return labels.mean(0)

    def has(self, decoded: Tensor) -> Tensor:
        """Which coordinates images have, by their decoded outputs or labels [N, K]: a mask, [N, K]."""
        return torch.ones_like(decoded, dtype=torch.bool)

    def known(self, labels: Tensor) -> Tensor:
        """Which labels [N, K] say something: a mask, [N, K]."""
        return torch.ones_like(labels, dtype=torch.bool)

    def groups(self, wanted: Tensor) -> list[Tensor]:
        """Masks [N, K] of the images that weigh alike, together, in a balanced mean of each coordinate; none if it is
        the plain one."""
        return []

    def part(self, place: int) -> "Readout":
        """The readout that a coordinate belongs to, of those that a mixed one has."""
        return self

    def check(self, labels: Tensor) -> None:
        """Look at labels [N, K].

        Raises:
            InputError: If they can't be such labels.
        """
        if not labels.isfinite().all():
            row, k = (~labels.isfinite()).nonzero()[0].tolist()
            raise InputError(f"the label {self.names[k]} of image {row} is {labels[row, k].item()}: give a number.")

    def place(self, name: str) -> int:
        """Return a coordinate's place.

        Raises:
            InputError: If there is none of that name; the message has the nearest ones.
        """
        if name not in self.names:
            raise InputError(f"there is no {self.noun} {name!r}{choice(name, self.keys)}.")
        return self.names.index(name)

    def places(self, key: str) -> list[int]:
        """The places of what one of :attr:`keys` sets: a coordinate's own; all of them, for a key that names none."""
        if key in self.keys and key not in self.names:
            return list(range(len(self.names)))
        return [self.place(key)]

    def read(self, name: str, value: float | str | bool) -> Setting:
        """Read what a user sets a coordinate to: here ``low``, ``high``, or a number in the labels' unit.

        Raises:
            InputError: If it can't be that.
        """
        if value in self.poles:
            return value == self.poles[1]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the value of {name} must be a finite number, low or high, got {value!r}.")
        return self._encoded(name, float(value))

    @property
    def keys(self) -> tuple[str, ...]:
        """By what a user may set labels."""
        return self.names

    def takes(self, key: str) -> bool:
        """Whether labels can be set by that."""
        return key in self.keys

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """Read what a user sets, by name: coordinates' places, and what each is set to.

        Raises:
            InputError: If a name is unknown, or a value can't be read.
        """
        return {self.place(str(name)): self.read(str(name), value) for name, value in values.items()}

    def seen(self, y: Tensor) -> Any:
        """What outputs [K] show, as it is set by hand: of a choice, the class; of a map, the class of each cell, row by
        row; of objects, tuples of class, centre across and down, width and height, as shares of the picture. Where
        outputs are NaN, nothing: "", or no object."""
        raise NotImplementedError

    def edit(self, own: Any, wanted: Any) -> dict[str, float | str]:
        """What makes what was :meth:`seen` another such thing, as :meth:`settings` reads it; nothing if it is the same.

        Raises:
            InputError: If it can't be set.
        """
        raise NotImplementedError

    def edited(self, own: Any, values: Mapping[str, float | str]) -> Any:
        """What was seen after an edit: ``edited(own, edit(own, wanted)) == wanted``, but for the order of objects.

        Raises:
            InputError: If that can't be read.
        """
        raise NotImplementedError

    def together(self, place: int) -> list[int]:
        """The coordinates that setting one sets, too; itself included."""
        return [place]

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """Targets [N, K] in which some coordinates were set, mended where that alone doesn't say what was meant."""
        return y

    def met(self, decoded: Tensor, settings: Mapping[int, Setting]) -> Tensor:
        """Which settings decoded outputs [N, K] satisfy: a mask, [N, S]. A True is met by what :meth:`has` it."""
        numbers = {k: value for k, value in settings.items() if not self.part(k).grouped}
        row = torch.full((len(self.names),), torch.nan)
        row[list(numbers)] = torch.tensor([float(value) for value in numbers.values()])
        agrees, has, found = self.agrees(decoded, self.decode(row).to(decoded)), self.has(decoded), []
        for k, setting in settings.items():
            on = setting if k in numbers or isinstance(setting, bool) else self._has_output(k, setting)
            found.append(agrees[:, k] if k in numbers else has[:, k] == on)
        return torch.stack(found, dim=1)

    def doubt(self, name: str, value: float | str | bool) -> str | None:
        """What a user may have meant otherwise by a value that can be read."""
        return None

    def text(self, place: int, value: Setting) -> str:
        """A setting as a user writes it."""
        if isinstance(value, bool):
            return self.part(place).poles[value]
        return self.number(place, self.shown(self._row(place, value))[place].item())

    def said(self, place: int, value: Setting) -> str:
        """A setting with its name."""
        return f"{self.names[place]} {self.text(place, value)}"

    def number(self, place: int, value: float) -> str:
        """A coordinate's value, in the unit of :meth:`shown`, as text."""
        return f"{value:.3g}"

    def listed(self, mask: Tensor) -> list[str]:
        """The names of what a mask [K] has."""
        return [name for name, chosen in zip(self.names, mask.tolist(), strict=True) if chosen]

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        """Those of the outputs [K] that a mask [K] has, by name, as a user could set them."""
        return {name: value for name, value, of in zip(self.names, self.shown(y).tolist(), mask, strict=True) if of}

    def words(self, y: Tensor) -> str:
        """Outputs [K] in words; those that are NaN are left out."""
        values = self.shown(y).tolist()
        return ", ".join(
            f"{name} {self.number(k, value)}"
            for k, (name, value) in enumerate(zip(self.names, values, strict=True))
            if not math.isnan(value)
        )

    @property
    def legend(self) -> dict[str, tuple[float, float, float]]:
        """The colours of :meth:`picture`, red, green and blue in [0, 1], by what they mean."""
        return {}

    def picture(self, y: Tensor) -> Tensor | None:
        """Outputs [N, K] as pictures in colours, [N, 3, H, W] in [-1, 1], black where they are NaN; None if words
        do."""
        return None

    def _row(self, place: int, output: float) -> Tensor:
        """Outputs [K] of which one is known."""
        row = torch.full((len(self.names),), torch.nan)
        row[place] = output
        return row

    def _encoded(self, name: str, label: float) -> float:
        place = self.names.index(name)
        return self.encode(self._row(place, label))[place].item()

    def _has_output(self, place: int, output: float) -> bool:
        return bool(self.has(self.decode(self._row(place, output))[None])[0, place])


class _MeanError(Metric):
    """The mean :meth:`Readout.error` of each coordinate, [K]."""

    sum: Tensor
    count: Tensor

    def __init__(self, readout: Readout):
        super().__init__()
        self.readout = readout
        self.add_state("sum", torch.zeros(len(readout.names)), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, decoded: Tensor, labels: Tensor) -> None:
        self.sum += self.readout.error(decoded, labels).sum(0)
        self.count += len(labels)

    def compute(self) -> Tensor:
        return self.sum / self.count


def checked(readout: Readout, names: Sequence[str]) -> Readout:
    """A readout of labels of these names, after each of its methods was tried on two images.

    Raises:
        InputError: If one fails, or gives something of another shape.
    """
    kind = type(readout).__name__
    if not isinstance(readout, Readout) or readout.names != tuple(names):
        raise InputError(
            f"the data's readout must be a subclass of spnn.readout.Readout with the labels' names, {list(names)}, got "
            f"{getattr(readout, 'names', readout)!r} ({kind})."
        )
    y, count = torch.zeros(2, len(names)), len(names)
    shape = y.shape

    def tried(method: str, expected: tuple[int, ...], *arguments: Tensor) -> Tensor:
        try:
            found = getattr(readout, method)(*arguments)
        except Exception as error:
            raise InputError(f"{kind}.{method} fails on tensors of shape {tuple(shape)}: {error!r}.") from error
        if not isinstance(found, Tensor) or found.shape != expected:
            given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"{kind}.{method} must give a tensor of shape {tuple(expected)}, but gave {given}.")
        return found

    grouped = torch.tensor([readout.part(k).grouped for k in range(count)])
    decoded = tried("decode", shape, y)
    labels = torch.where(grouped, tried("has", shape, decoded).float(), decoded)
    for method, arguments in {
        "loss": (y, labels),
        "error": (labels, labels),
        "agrees": (labels, labels),
        "gap": (y, y),
        "encode": (labels,),
        "shown": (y,),
    }.items():
        tried(method, shape, *arguments)
    tried("energy", (), y, y)
    tried("baseline", (count,), labels)
    if readout.agrees(labels, labels).dtype != torch.bool:
        raise InputError(f"{kind}.agrees must give a mask (bool), but gave {readout.agrees(labels, labels).dtype}.")
    again = torch.where(grouped, labels, readout.decode(readout.encode(labels)))
    if not torch.allclose(again, labels, atol=1e-3):
        raise InputError(f"{kind}.encode must undo {kind}.decode: override both, or neither.")
    metric = readout.metric()
    try:
        metric.update(labels, labels)
        readout.by_score(metric.compute().reshape(-1))
    except Exception as error:
        raise InputError(f"{kind}.metric() fails on decoded outputs and labels of shape {tuple(shape)}: {error!r}.")  # noqa: B904
    return readout
