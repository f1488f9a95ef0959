"""The interface of all kinds of ``y``, with the behaviour that most of them share."""

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
"""What a coordinate is set to: an output; or True or False, meaning its value in training images that have it, or
lack it."""


class Readout(ABC):
    """What K outputs mean.

    Three spaces meet here. *Outputs* come from the network, and guidance works with them. *Labels* come from a source
    of images, in the user's unit. :meth:`decode` maps outputs to the space of labels, where the two are compared, and
    :meth:`encode` maps labels to outputs. A subclass must define how outputs are trained (:meth:`loss`) and when two
    decoded outputs count as the same (:meth:`agrees`); everything else has a default.

    Arguments:
        names: Names of the coordinates, if they are to be trained, set or shown by name.

    Raises:
        InputError: If a name is repeated, or ``names`` is a single string.
    """

    noun: str = "output"
    """What a coordinate is called in texts."""
    score: str = "error"
    """What :meth:`metric` is called in logs."""
    trivial: str = "mean"
    """What :meth:`baseline` is called in tables."""
    grouped: bool = False
    """Whether coordinates are things that an image either has or lacks."""
    poles: tuple[str, str] = ("low", "high")
    """The words for False and True, as values that a coordinate is set to."""
    flips: tuple[str, ...] = ("low", "high")
    """The values that a study of edits sets each coordinate to; empty if coordinates are only set together."""

    grid: tuple[int, int] | None = None
    """Rows and columns, if outputs are maps, one after the other."""

    by_hand: Literal["numbers", "choice", "map", "objects"] = "numbers"
    """How labels are set in an editor: each by its number; or together, as one of :attr:`choices`, as a map of them to
    paint on, or as a list of objects. If they are set together, the readout has :meth:`seen`, :meth:`edit` and
    :meth:`edited`."""
    choices: tuple[str, ...] = ()
    """The classes to choose from, if labels are set together."""

    @property
    def plural(self) -> str:
        """The plural of :attr:`noun`."""
        return f"{self.noun}s"

    def __init__(self, names: Sequence[str] = ()):
        if isinstance(names, str) or len(set(names)) < len(names):
            raise InputError(f"a readout's names are a list without repeats, got {names!r}.")
        self.names = tuple(names)

    @abstractmethod
    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """The training loss of each output [B, K] given labels [B, K]: [B, K]."""

    @abstractmethod
    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Where decoded outputs [..., K] agree with other decoded outputs, or with labels: a mask, [..., K]."""

    def decode(self, y: Tensor) -> Tensor:
        """Convert outputs [..., K] to the labels' unit. A NaN in one coordinate doesn't affect the others."""
        return y

    def encode(self, labels: Tensor) -> Tensor:
        """The outputs [..., K] that :meth:`decode` turns into these labels; used for numbers that a user sets."""
        return labels

    def shown(self, y: Tensor) -> Tensor:
        """Outputs [..., K] in the unit in which users read and set them."""
        return self.decode(y)

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        """Which coordinates changed between decoded outputs [..., K] and other ones: a mask, [..., K]."""
        return ~self.agrees(found, other)

    def level(self, y: Tensor) -> Tensor:
        """Outputs [..., K] as shares from 0 (absent, low) to 1 (present, high), for pictures."""
        return self.decode(y).clamp(0, 1)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """How far decoded outputs are from other ones, or from labels: [..., K]. It is a share of the coordinate's
        range, if it has one, so that errors can be averaged over coordinates and a guidance's ``stop`` means the same
        for all of them."""
        return (found - wanted).abs()

    def gap(self, y: Tensor, target: Tensor) -> Tensor:
        """How far each output is from its target, [..., K]; guidance's stop rule uses it."""
        return self.error(self.decode(y), self.decode(target))

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """How far outputs are from their targets, summed up; guidance by gradients descends it."""
        return (y - target).square().sum() / 2

    def metric(self) -> Metric:
        """A metric of how well outputs predict labels: call ``update(decoded, labels)``, then ``compute()``, which
        gives a value for each of :attr:`scored`; NaN if it isn't defined."""
        return _MeanError(self)

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of the values that :meth:`metric` computes."""
        return self.names

    def by_score(self, values: Tensor) -> dict[str, dict[str, Tensor]]:
        """The values that :meth:`metric` has computed, by kind of score and by name."""
        return {self.score: dict(zip(self.scored, values, strict=True))}

    def baseline(self, labels: Tensor) -> Tensor:
        """The best answer without seeing any image, from training labels [N, K]: decoded, [K]."""
        return labels.mean(0)

    def has(self, decoded: Tensor) -> Tensor:
        """Which coordinates images have, according to their decoded outputs or labels [N, K]: a mask, [N, K]."""
        return torch.ones_like(decoded, dtype=torch.bool)

    def known(self, labels: Tensor) -> Tensor:
        """Which labels [N, K] are known: a mask, [N, K]."""
        return torch.ones_like(labels, dtype=torch.bool)

    def groups(self, wanted: Tensor) -> list[Tensor]:
        """Masks [N, K] of groups of images; in the balanced mean of a coordinate, each group has equal weight. Empty if
        that mean is the plain one."""
        return []

    def part(self, place: int) -> "Readout":
        """The readout that a coordinate belongs to: in a mixed readout, one of its parts."""
        return self

    def check(self, labels: Tensor) -> None:
        """Check labels [N, K].

        Raises:
            InputError: If they can't be labels of this kind.
        """
        if not labels.isfinite().all():
            row, k = (~labels.isfinite()).nonzero()[0].tolist()
            raise InputError(f"the label {self.names[k]} of image {row} is {labels[row, k].item()}: give a number.")

    def place(self, name: str) -> int:
        """Return a coordinate's place.

        Raises:
            InputError: If no coordinate has that name; the message suggests the nearest ones.
        """
        if name not in self.names:
            raise InputError(f"there is no {self.noun} {name!r}{choice(name, self.keys)}.")
        return self.names.index(name)

    def places(self, key: str) -> list[int]:
        """The places that one of :attr:`keys` sets: a coordinate's own, or all of them if the key names no
        coordinate."""
        if key in self.keys and key not in self.names:
            return list(range(len(self.names)))
        return [self.place(key)]

    def read(self, name: str, value: float | str | bool) -> Setting:
        """Read the value that a user sets a coordinate to: here ``low``, ``high``, or a number in the labels' unit.

        Raises:
            InputError: If it is none of these.
        """
        if value in self.poles:
            return value == self.poles[1]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the value of {name} must be a finite number, low or high, got {value!r}.")
        return self._encoded(name, float(value))

    @property
    def keys(self) -> tuple[str, ...]:
        """The names by which a user may set labels."""
        return self.names

    def takes(self, key: str) -> bool:
        """Whether labels can be set by that key."""
        return key in self.keys

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """Read the values that a user sets by name, and return the coordinates' places with their settings.

        Raises:
            InputError: If a name is unknown, or a value can't be read.
        """
        return {self.place(str(name)): self.read(str(name), value) for name, value in values.items()}

    def seen(self, y: Tensor) -> Any:
        """What outputs [K] show, in the form in which it is set by hand: for a choice, the class; for a map, the class
        of each cell, row by row; for objects, tuples of class, centre across and down, width and height, as shares of
        the picture. Where outputs are NaN, there is nothing: "", or no object."""
        raise NotImplementedError

    def edit(self, own: Any, wanted: Any) -> dict[str, float | str]:
        """The values, as :meth:`settings` reads them, that change ``own`` into ``wanted``, both in the form of
        :meth:`seen`; empty if the two are the same.

        Raises:
            InputError: If ``wanted`` can't be set.
        """
        raise NotImplementedError

    def edited(self, own: Any, values: Mapping[str, float | str]) -> Any:
        """What ``own`` becomes after an edit: ``edited(own, edit(own, wanted)) == wanted``, except for the order of
        objects.

        Raises:
            InputError: If the edit can't be read.
        """
        raise NotImplementedError

    def together(self, place: int) -> list[int]:
        """The coordinates that are set when one of them is, including that one."""
        return [place]

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """Targets [N, K] in which some coordinates were set, with others adjusted where the settings require it."""
        return y

    def met(self, decoded: Tensor, settings: Mapping[int, Setting]) -> Tensor:
        """Which settings decoded outputs [N, K] satisfy: a mask, [N, S]. An image meets True if it :meth:`has` the
        coordinate."""
        numbers = {k: value for k, value in settings.items() if not self.part(k).grouped}
        row = torch.full((len(self.names),), torch.nan)
        row[list(numbers)] = torch.tensor([float(value) for value in numbers.values()])
        agrees, has, found = self.agrees(decoded, self.decode(row).to(decoded)), self.has(decoded), []
        for k, setting in settings.items():
            on = setting if k in numbers or isinstance(setting, bool) else self._has_output(k, setting)
            found.append(agrees[:, k] if k in numbers else has[:, k] == on)
        return torch.stack(found, dim=1)

    def doubt(self, name: str, value: float | str | bool) -> str | None:
        """A hint, if a value can be read but the user may have meant something else."""
        return None

    def text(self, place: int, value: Setting) -> str:
        """A setting as a user would write it."""
        if isinstance(value, bool):
            return self.part(place).poles[value]
        return self.number(place, self.shown(self._row(place, value))[place].item())

    def said(self, place: int, value: Setting) -> str:
        """A setting with its name."""
        return f"{self.names[place]} {self.text(place, value)}"

    def number(self, place: int, value: float) -> str:
        """A coordinate's value as text, in the unit of :meth:`shown`."""
        return f"{value:.3g}"

    def listed(self, mask: Tensor) -> list[str]:
        """The names that a mask [K] selects."""
        return [name for name, chosen in zip(self.names, mask.tolist(), strict=True) if chosen]

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        """The outputs [K] that a mask [K] selects, by name, as a user could set them."""
        return {name: value for name, value, of in zip(self.names, self.shown(y).tolist(), mask, strict=True) if of}

    def words(self, y: Tensor) -> str:
        """Outputs [K] in words, without those that are NaN."""
        values = self.shown(y).tolist()
        return ", ".join(
            f"{name} {self.number(k, value)}"
            for k, (name, value) in enumerate(zip(self.names, values, strict=True))
            if not math.isnan(value)
        )

    @property
    def legend(self) -> dict[str, tuple[float, float, float]]:
        """The colours of :meth:`picture`, red, green and blue in [0, 1], by their meaning."""
        return {}

    def picture(self, y: Tensor) -> Tensor | None:
        """Outputs [N, K] as coloured pictures, [N, 3, H, W] in [-1, 1], black where they are NaN; None if words are
        enough."""
        return None

    def _row(self, place: int, output: float) -> Tensor:
        """Outputs [K] with only one of them known."""
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
    """Return the readout, after checking its names and trying each of its methods on two images.

    Raises:
        InputError: If the names differ, or a method fails or returns another shape.
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
