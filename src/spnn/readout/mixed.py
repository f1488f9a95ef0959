"""Several kinds of labels in one network."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric

from spnn.errors import InputError
from spnn.readout.base import Readout, Setting

__all__ = ["Mixed"]


class Mixed(Readout):
    """Readouts side by side: the coordinates of the first, then those of the second, and so on.

    Arguments:
        parts: The readouts; no name may occur in two of them.
    """

    noun, score, trivial, poles = "label", "score", "best guess", ("no or low", "yes or high")

    def __init__(self, parts: Sequence[Readout]):
        super().__init__([name for part in parts for name in part.names])
        self.grouped = any(part.grouped for part in parts)
        ends = torch.tensor([0, *(len(part.names) for part in parts)]).cumsum(0).tolist()
        self.parts = list(parts)
        self.slices = [slice(*pair) for pair in pairwise(ends)]
        self._pairs = list(zip(self.parts, self.slices, strict=True))
        if len(set(self.keys)) < len(self.keys):
            raise InputError(f"the parts of a mixed readout need different names, got {', '.join(self.keys)}.")

    def _each(self, method: str, *tensors: Tensor) -> Tensor:
        """Apply each part's method to its own columns, and put the results side by side."""
        found = [getattr(part, method)(*(x[..., place] for x in tensors)) for part, place in self._pairs]
        return torch.cat(found, dim=-1)

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        return self._each("loss", y, labels)

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        return self._each("agrees", found, wanted)

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        return self._each("differs", found, other)

    def decode(self, y: Tensor) -> Tensor:
        return self._each("decode", y)

    def encode(self, labels: Tensor) -> Tensor:
        return self._each("encode", labels)

    def shown(self, y: Tensor) -> Tensor:
        return self._each("shown", y)

    def level(self, y: Tensor) -> Tensor:
        return self._each("level", y)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        return self._each("error", found, wanted)

    def baseline(self, labels: Tensor) -> Tensor:
        return self._each("baseline", labels)

    def has(self, decoded: Tensor) -> Tensor:
        return self._each("has", decoded)

    def known(self, labels: Tensor) -> Tensor:
        return self._each("known", labels)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        return reduce(torch.add, (part.energy(y[..., place], target[..., place]) for part, place in self._pairs))

    def metric(self) -> Metric:
        return _Metrics(self.parts, self.slices)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key for part in self.parts for key in part.keys)

    @property
    def scored(self) -> tuple[str, ...]:
        return tuple(name for part in self.parts for name in part.scored)

    def by_score(self, values: Tensor) -> dict[str, dict[str, Tensor]]:
        kinds: dict[str, dict[str, Tensor]] = {}
        for part, own in zip(self.parts, values.split([len(part.scored) for part in self.parts]), strict=True):
            for kind, scores in part.by_score(own).items():
                kinds.setdefault(kind, {}).update(scores)
        return kinds

    def groups(self, wanted: Tensor) -> list[Tensor]:
        """The groups of each part; if a part has fewer than another, its missing groups are empty."""
        of_parts = [part.groups(wanted[..., place]) for part, place in self._pairs]
        masks = []
        for number in range(max(map(len, of_parts), default=0)):
            columns = []
            for groups, place in zip(of_parts, self.slices, strict=True):
                nowhere = torch.zeros_like(wanted[..., place], dtype=torch.bool)
                masks_ = groups or [~nowhere]
                columns.append(masks_[number] if number < len(masks_) else nowhere)
            masks.append(torch.cat(columns, dim=-1))
        return masks

    def part(self, place: int) -> Readout:
        return self.parts[self._number(place)]

    def check(self, labels: Tensor) -> None:
        for part, place in self._pairs:
            part.check(labels[:, place])

    def takes(self, key: str) -> bool:
        return any(part.takes(key) for part in self.parts)

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        read: dict[int, Setting] = {}
        for part, place in self._pairs:
            own = {name: value for name, value in values.items() if part.takes(str(name))}
            if own:
                read |= {place.start + k: setting for k, setting in part.settings(own).items()}
        for name in values:
            if not self.takes(str(name)):
                self.place(str(name))  # raises an error with the nearest names
        return read

    def places(self, key: str) -> list[int]:
        for part, place in self._pairs:
            if part.takes(key):
                return [place.start + k for k in part.places(key)]
        return super().places(key)  # raises an error with the nearest names

    def together(self, place: int) -> list[int]:
        part, start = self.part(place), self._start(place)
        return [start + k for k in part.together(place - start)]

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        columns = []
        for part, place in self._pairs:
            own = [k - place.start for k in places if place.start <= k < place.stop]
            columns.append(part.settled(y[:, place], own) if own else y[:, place])
        return torch.cat(columns, dim=1)

    def doubt(self, name: str, value: float | str | bool) -> str | None:
        return next((part.doubt(name, value) for part in self.parts if name in part.names), None)

    def read(self, name: str, value: float | str | bool) -> Setting:
        return self.part(self.place(name)).read(name, value)

    def number(self, place: int, value: float) -> str:
        return self.part(place).number(place - self._start(place), value)

    def said(self, place: int, value: Setting) -> str:
        return self.part(place).said(place - self._start(place), value)

    def listed(self, mask: Tensor) -> list[str]:
        return [name for part, place in self._pairs for name in part.listed(mask[place])]

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        found = [part.chosen(y[place], mask[place]) for part, place in self._pairs]
        return {name: value for values in found for name, value in values.items()}

    def words(self, y: Tensor) -> str:
        said = [part.words(y[place]) for part, place in self._pairs]
        return ", ".join(filter(None, said))

    @property
    def legend(self) -> dict[str, tuple[float, float, float]]:
        return next((part.legend for part in self.parts if part.legend), {})

    def picture(self, y: Tensor) -> Tensor | None:
        """The picture of the first part that has one."""
        return next((part.picture(y[:, place]) for part, place in self._pairs if part.legend), None)

    def _number(self, place: int) -> int:
        return next(number for number, part in enumerate(self.slices) if place < part.stop)

    def _start(self, place: int) -> int:
        return self.slices[self._number(place)].start

    def _has_output(self, place: int, output: float) -> bool:
        return self.part(place)._has_output(place - self._start(place), output)


class _Metrics(WrapperMetric):
    """The metrics of the parts side by side, [K]."""

    metrics: Sequence[Metric]

    def __init__(self, parts: Sequence[Readout], slices: Sequence[slice]):
        super().__init__()
        self.slices = slices
        self.metrics = nn.ModuleList(part.metric() for part in parts)  # type: ignore[assignment]  # see Composition

    def update(self, decoded: Tensor, labels: Tensor) -> None:
        for metric, place in zip(self.metrics, self.slices, strict=True):
            metric.update(decoded[:, place], labels[:, place])

    def compute(self) -> Tensor:
        return torch.cat([metric.compute().reshape(-1) for metric in self.metrics])

    def reset(self) -> None:
        for metric in self.metrics:
            metric.reset()
        super().reset()
