"""The base of readouts in which exactly one of several classes applies, to an image or to each cell of a picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spnn.readout.base import Readout

__all__ = ["OneOfMany"]

_CLEARLY = 2.0  # how far the output of a class that is set lies above the others


class OneOfMany(Readout):
    """Scores of R classes in each of some cells, class by class: K = R cells. Labels are 1 for a cell's class and 0 for
    the others; decoded outputs are probabilities. Setting a cell's class sets all its scores: the other classes stay
    below it.

    Arguments:
        names: Names of the K coordinates.
        classes: R.
    """

    grouped, poles, flips = True, ("no", "yes"), ("yes",)

    def __init__(self, names: Sequence[str], classes: int):
        super().__init__(names)
        self.count, self.cells = classes, len(self.names) // classes

    def by_cell(self, y: Tensor) -> Tensor:
        """Reshape coordinates [..., K] to [..., R, cells]."""
        return y.unflatten(-1, (self.count, self.cells))

    def _spread(self, of_cells: Tensor) -> Tensor:
        """Repeat a value per cell, [..., cells], for each coordinate, [..., K]."""
        return of_cells.unsqueeze(-2).expand(*of_cells.shape[:-1], self.count, -1).flatten(-2)

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, split by class; a cell's loss is the sum over classes."""
        return -labels * self.by_cell(y).log_softmax(-2).flatten(-2)

    def decode(self, y: Tensor) -> Tensor:
        """Probabilities; all of a cell's are NaN if one of its scores is."""
        return self.by_cell(y).softmax(-2).flatten(-2)

    def encode(self, labels: Tensor) -> Tensor:
        return labels.log()

    def shown(self, y: Tensor) -> Tensor:
        return y

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Whether the cell's most likely class is the same; equal for all coordinates of a cell."""
        return self._spread(self.by_cell(found).argmax(-2) == self.by_cell(wanted).argmax(-2))

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        """For a cell whose class changed: the old class and the new one."""
        return self.has(found) != self.has(other)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """The total variation between the cell's probabilities, in [0, 1]; equal for all coordinates of a cell."""
        return self._spread(self.by_cell((found - wanted).abs()).sum(-2) / 2)

    def energy(self, y: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of probabilities."""
        return -(self.by_cell(target).softmax(-2) * self.by_cell(y).log_softmax(-2)).sum()

    def baseline(self, labels: Tensor) -> Tensor:
        """The class that most images have."""
        return self.has(labels.mean(0)).float()

    def has(self, decoded: Tensor) -> Tensor:
        cells = self.by_cell(decoded)
        largest = torch.zeros_like(cells, dtype=torch.bool).scatter(-2, cells.argmax(-2, keepdim=True), True)
        return (largest & (cells != 0)).flatten(-2)

    def groups(self, wanted: Tensor) -> list[Tensor]:
        """The images of each class, so that the balanced mean is balanced accuracy."""
        return [self.has(wanted)]

    def together(self, place: int) -> list[int]:
        return [number * self.cells + place % self.cells for number in range(self.count)]

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """Lower the other scores of a cell, so that the class that was set leads by a clear margin."""
        y = y.clone()
        for k in places:
            others = [other for other in self.together(k) if other != k]
            y[:, others] = torch.minimum(y[:, others], y[:, [k]] - _CLEARLY)
        return y

    def _has_output(self, place: int, output: float) -> bool:
        return True  # a class is only ever set to be there
