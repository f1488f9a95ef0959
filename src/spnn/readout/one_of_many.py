"""What readouts share in which one of several classes is the case: for an image, or for each cell of a picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spnn.readout.base import Readout

__all__ = ["OneOfMany"]

_CLEARLY = 2.0  # by how much a class that is set leads the others, of outputs


class OneOfMany(Readout):
    """Scores of R classes in each of some cells, class by class: K = R cells. Labels are 1 for a cell's class and 0 for
    the others, decoded outputs are probabilities. To set a cell's class is to set all its scores: the others stay
    behind it.

    Arguments:
        names: Of the K coordinates.
        classes: R.
    """

    grouped, poles, flips = True, ("no", "yes"), ("yes",)

    def __init__(self, names: Sequence[str], classes: int):
        super().__init__(names)
        self.count, self.cells = classes, len(self.names) // classes

    def by_cell(self, y: Tensor) -> Tensor:
        """Coordinates [..., K] as [..., R, cells]."""
        return y.unflatten(-1, (self.count, self.cells))

    def _spread(self, of_cells: Tensor) -> Tensor:
        """What holds for each cell, [..., cells], for each coordinate, [..., K]."""
        return of_cells.unsqueeze(-2).expand(*of_cells.shape[:-1], self.count, -1).flatten(-2)

    def loss(self, y: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, whose sum over classes is a cell's."""
        return -labels * self.by_cell(y).log_softmax(-2).flatten(-2)

    def decode(self, y: Tensor) -> Tensor:
        """Probabilities; all of a cell are NaN where a score is."""
        return self.by_cell(y).softmax(-2).flatten(-2)

    def encode(self, labels: Tensor) -> Tensor:
        return labels.log()

    def shown(self, y: Tensor) -> Tensor:
        return y

    def agrees(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Of a cell as a whole: whether its likeliest class is the same."""
        return self._spread(self.by_cell(found).argmax(-2) == self.by_cell(wanted).argmax(-2))

    def differs(self, found: Tensor, other: Tensor) -> Tensor:
        """The class that was, and the one that is."""
        return self.has(found) != self.has(other)

    def error(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Of a cell as a whole: the total variation between probabilities, in [0, 1]."""
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
        """The images of each class: the mean is balanced accuracy."""
        return [self.has(wanted)]

    def together(self, place: int) -> list[int]:
        return [number * self.cells + place % self.cells for number in range(self.count)]

    def settled(self, y: Tensor, places: Sequence[int]) -> Tensor:
        """The class that was set has its cell's largest score, by a clear margin."""
        y = y.clone()
        for k in places:
            others = [other for other in self.together(k) if other != k]
            y[:, others] = torch.minimum(y[:, others], y[:, [k]] - _CLEARLY)
        return y

    def _has_output(self, place: int, output: float) -> bool:
        return True  # a class is only ever set to be there
