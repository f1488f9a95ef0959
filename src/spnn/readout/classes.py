"""One class of many."""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from spnn.errors import InputError, choice
from spnn.readout.base import Setting
from spnn.readout.one_of_many import OneOfMany

__all__ = ["Classes"]


class Classes(OneOfMany):
    """Scores of classes; an image belongs to exactly one.

    Arguments:
        names: Names of the classes, at least two; they may begin with the group's name, as in ``hair_blond``.
        group: The name by which a class is set, as in ``edit.set={class: cat}`` or ``{hair: blond}``.
    """

    noun, score, trivial, by_hand = "class", "accuracy", "commonest class", "choice"

    def __init__(self, names: Sequence[str], group: str = "class"):
        super().__init__(names, len(names))
        if len(self.names) < 2 or group in self.names:
            raise InputError(f"classes need at least two names, none of them {group!r}, got {list(self.names)}.")
        self.group = group
        self.choices = tuple(name.removeprefix(f"{group}_") for name in self.names)

    @property
    def plural(self) -> str:
        return "classes"

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.names, self.group)

    def metric(self) -> Metric:
        return _ClassAccuracy(len(self.names), average="none")

    def check(self, labels: Tensor) -> None:
        super().check(labels)
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            row = int((labels.sum(1) - 1).abs().argmax())
            raise InputError(
                f"labels of classes are 1 for the image's class and 0 for the others; those of image {row} are "
                f"{labels[row].tolist()[:10]}."
            )

    def places(self, key: str) -> list[int]:
        return list(range(len(self.names))) if key == self.group else super().places(key)

    def read(self, name: str, value: float | str | bool) -> Setting:
        """Only ``yes`` is allowed: for "not this class", another class must be chosen."""
        if value in (True, "yes"):
            return True
        raise InputError(f"{name} can't be {value!r}: set the {self.group} that it is, {self.group}: {name}.")

    def settings(self, values: Mapping[str, float | str | bool]) -> dict[int, Setting]:
        """``{class: cat}``, or ``{cat: yes}``."""
        read = {}
        for name, value in values.items():
            if name == self.group:
                name, value = self.names[self._number(str(value))], True
            read[self.place(str(name))] = self.read(str(name), value)
        if len(read) > 1:
            names = " and ".join(self.names[k] for k in read)
            raise InputError(f"an image has one {self.group}, but {names} are set.")
        return read

    def _number(self, name: str) -> int:
        if name not in self.choices:
            raise InputError(f"there is no {self.group} {name!r}{choice(name, self.choices)}.")
        return self.choices.index(name)

    def seen(self, y: Tensor) -> str:
        return "" if y.isnan().any() else self.choices[int(y.argmax())]

    def edit(self, own: str, wanted: str) -> dict[str, float | str]:
        return {} if wanted == own else {self.group: self.choices[self._number(wanted)]}

    def edited(self, own: str, values: Mapping[str, float | str]) -> str:
        return self.choices[self._number(str(values[self.group]))] if values else own

    def said(self, place: int, value: Setting) -> str:
        return f"{self.group} {self.choices[place]}"

    def listed(self, mask: Tensor) -> list[str]:
        return [self.group] if mask.any() else []

    def chosen(self, y: Tensor, mask: Tensor) -> dict[str, float | str]:
        return {self.group: self.words(y)} if mask.any() else {}

    def words(self, y: Tensor) -> str:
        """The most likely class."""
        return "" if y.isnan().any() else self.names[int(y.argmax())]


class _ClassAccuracy(MulticlassAccuracy):
    def update(self, decoded: Tensor, labels: Tensor) -> None:
        super().update(decoded, labels.argmax(1))
