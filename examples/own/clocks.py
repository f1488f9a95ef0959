"""Your own kind of data: pictures of a clock's hand, labelled with the direction in which it points."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from spnn.data import ArrayDataset, Source
from spnn.readout import Readout


class Direction(Readout):
    """A direction as its cosine and sine; users set it as an ``angle`` in degrees, clockwise from noon."""

    noun, keys = "direction", ("angle",)
    flips = ()  # the values that a study sets a single coordinate to, which makes no sense here

    def __init__(self, tolerance: float = 10.0):
        super().__init__(("cos", "sin"))
        self.tolerance = tolerance  # degrees

    def loss(self, y, labels):
        return (y - labels).square()

    def decode(self, y):  # the network may give a vector of any length
        return F.normalize(y, dim=-1)

    def error(self, found, wanted):  # as a share of half a turn, the largest error; the same for both coordinates
        turn = (found * wanted).sum(-1, keepdim=True).clamp(-1, 1).acos() / math.pi
        return turn.expand_as(found * wanted)

    def agrees(self, found, wanted):
        return self.error(found, wanted) <= self.tolerance / 180

    def settings(self, values):  # {"angle": 90} sets both coordinates
        angle = math.radians(float(values["angle"]))
        return {0: math.cos(angle), 1: math.sin(angle)}

    def listed(self, mask):
        return ["angle"] * bool(mask.any())

    def words(self, y):
        return f"angle {math.degrees(math.atan2(y[1], y[0])) % 360:.0f}"


class Clocks(Source):
    """Hands that point anywhere, 16x16 pixels."""

    image_shape = (1, 16, 16)
    label_names = ("cos", "sin")
    readout = Direction()
    counts = {"train": 4000, "val": 200, "test": 200}  # noqa: RUF012 - nobody changes it

    def split(self, name):
        angle = np.random.default_rng(len(name)).uniform(0, 2 * math.pi, self.counts[name])  # another seed for each
        labels = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        y, x = (7.5 - np.mgrid[:16, :16][0]), np.mgrid[:16, :16][1] - 7.5
        along = labels[:, 0, None, None] * y + labels[:, 1, None, None] * x
        across = labels[:, 0, None, None] * x - labels[:, 1, None, None] * y
        ink = (1.5 - np.abs(across)).clip(0, 1) * (along > 0) * (along < 7)
        return ArrayDataset(np.rint(255 * ink).astype(np.uint8)[..., None], labels)


def angle_of(image: torch.Tensor) -> float:
    """The direction of the hand in a picture, [1, 16, 16], in degrees; for tests."""
    ink, at = (image[0] + 1).clamp(min=0), torch.arange(16) - 7.5
    return math.degrees(math.atan2((ink * at).sum(), -(ink.T * at).sum())) % 360
