"""What a sample should be: the target logits of each task."""

import difflib
import math
from collections.abc import Mapping, Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor

from spnn.data.module import scale_to_unit_range
from spnn.data.sources import Source
from spnn.errors import InputError

__all__ = ["attribute_index", "held_out", "set_attributes"]


def held_out(source: Source, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Return ``count`` images of the test split, [N, C, H, W] in [-1, 1], and their attributes [N, K].

    Raises:
        InputError: If the split doesn't have that many.
    """
    source.prepare()
    dataset = source.split("test")
    if not 0 <= first < first + count <= len(dataset):
        raise InputError(
            f"the test split has images 0 to {len(dataset) - 1}, but {first} to {first + count - 1} are asked."
        )
    items = [dataset[index] for index in range(first, first + count)]
    images = torch.stack([item["image"] for item in items])
    return scale_to_unit_range(images).contiguous(), torch.stack([item["attributes"] for item in items])


def attribute_index(name: str, attributes: Sequence[str]) -> int:
    """Return an attribute's place.

    Raises:
        InputError: If there is none of that name; the message has the nearest ones.
    """
    if name in attributes:
        return attributes.index(name)
    by_lower = {attribute.lower(): attribute for attribute in attributes}
    near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(attributes)}."
    raise InputError(f"there is no attribute {name!r}; {hint}")


def set_attributes(y: Tensor, attributes: Sequence[str], values: Mapping[str, float] | None) -> Tensor:
    """Return a copy of the logits ``y`` [N, K] with the named attributes set to the given logits.

    Raises:
        InputError: If an attribute is unknown, a value is not a finite number, or nothing is to be set.
    """
    if not values or not isinstance(values, Mapping | DictConfig):
        raise InputError(
            f"nothing to edit: give `edit.set={{Attribute: logit, ...}}`, e.g. {{{attributes[0]}: 4}}; got {values}."
        )
    y = y.clone()
    for name, value in values.items():
        index = attribute_index(str(name), attributes)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the logit of {name} must be a finite number, got {value!r}.")
        y[:, index] = value
    return y
