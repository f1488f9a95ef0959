"""Attributes that a user sets by name."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor

from spnn.errors import InputError

__all__ = ["as_logit", "attribute_index", "set_attributes"]


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


def as_logit(name: str, value: float | str) -> float:
    """Read what an attribute is to be: a number is a logit, ``"90%"`` the probability 0.9.

    Raises:
        InputError: If it is neither, or a probability is not between 0 and 100 %.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*", value)):
        probability = float(match[1]) / 100
        if 0 < probability < 1:
            return math.log(probability / (1 - probability))
        raise InputError(f"{name} can't be {value}: a probability lies between 0 and 100 %, both excluded; try 99%.")
    raise InputError(
        f"the value of {name} must be a logit, a finite number such as 4, or a probability such as 98%; got {value!r}."
    )


def set_attributes(
    y: Tensor, attributes: Sequence[str], values: Mapping[str, float | str] | None, option: str
) -> tuple[Tensor, Tensor]:
    """Return a copy of the logits ``y`` [N, K] with the named attributes set, and which these are, a mask [K].

    Arguments:
        y: Logits, [N, K].
        attributes: Names of the K attributes.
        values: Name to value, see :func:`as_logit`.
        option: What the user sets them by, for messages.

    Raises:
        InputError: If an attribute is unknown, a value can't be read, or nothing is to be set.
    """
    if not values or not isinstance(values, Mapping | DictConfig):
        raise InputError(
            f"nothing to set: give `{option}={{Attribute: value, ...}}`, e.g. {option}='{{{attributes[0]}: 4}}' (a "
            f"logit) or '{{{attributes[0]}: 98%}}' (a probability); got {values}."
        )
    y, which = y.clone(), torch.zeros(len(attributes), dtype=torch.bool)
    for name, value in values.items():
        index = attribute_index(str(name), attributes)
        y[:, index] = as_logit(str(name), value)
        which[index] = True
    return y, which
