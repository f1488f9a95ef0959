"""Targets: outputs that a user sets by name, and how the other outputs follow."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from omegaconf import DictConfig
from torch import Tensor

from spnn.errors import InputError, told
from spnn.outputs import MOST, TrainingOutputs
from spnn.readout import Readout, Setting

__all__ = ["beyond_range", "by_name", "contradictions", "far_targets", "set_places", "set_values", "share_of"]

_CLEAR = 0.2  # an image shows a label clearly from this quantile of the training images that have it
_RARE = 0.005  # two labels may contradict each other if fewer than this share of training images have both,
_LIFT = 0.25  # and they occur together less often than this multiple of chance
_PAIRS = 4  # the most pairs that a message names
_FOLLOW = {"keep": 0.0, "follow": 1.0}


def set_values(
    y: Tensor,
    readout: Readout,
    values: Mapping[str, float | str | bool] | Sequence[str] | str | None,
    option: str,
    outputs: TrainingOutputs | None = None,
    *,
    quantile: float = 0.95,
    share: float | Literal["likely"] = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return a copy of the outputs ``y`` [N, K] with the named ones set, and a mask [K] of the outputs that were set.

    ``yes`` sets a label to the given quantile of its output among training images that have the label, ``no`` to the
    opposite quantile among those that lack it. For a number, ``high`` and ``low`` are that quantile of all training
    images and the opposite one. An image that shows a setting as clearly as most of those training images keeps its
    output, because there is nothing to edit. To change an image's class, its outputs are moved by the difference
    between the mean outputs of the two classes, see :meth:`~spnn.outputs.TrainingOutputs.swap`.

    Arguments:
        y: Outputs, [N, K].
        readout: What the outputs mean.
        values: Name to value, see :meth:`~spnn.readout.Readout.read`; or a list of ``"name=value"``, for names that
            can't be written on a command line otherwise; or a YAML file of names and values.
        option: The option that the user sets them with, for messages.
        outputs: The training outputs, which are needed for ``yes``, ``no`` and a share.
        quantile: The quantile that counts as typical.
        share: How far the other outputs follow those that are set, see :meth:`~spnn.outputs.TrainingOutputs.follow` and
            :meth:`~spnn.outputs.TrainingOutputs.likely`.

    Raises:
        InputError: If a name is unknown, a value can't be read, nothing is to be set, or training outputs are
            needed and there are none.
    """
    given, values = values, by_name(values, option)
    if not values:
        example = f"{option}='{{{readout.names[0]}: {readout.part(0).poles[1]}}}'"
        raise InputError(
            f"nothing to set: give `{option}={{Name: value, ...}}`, e.g. {example}. Got "
            f"{given}{', without a value' * isinstance(given, str)}."
        )
    if many := [name for name, value in values.items() if isinstance(value, Mapping | list | tuple)]:
        raise InputError(
            f"{option} sets {many[0]} to one value, got {values[many[0]]!r}. Several in turn are set by task=sweep, "
            "each in its share of new samples by task=generate."
        )
    with told(f"{option}={dict(values)} can't be read by {type(readout).__name__}"):
        read = readout.settings(values)
    return set_places(y, readout, read, option, outputs, quantile=quantile, share=share)


def set_places(
    y: Tensor,
    readout: Readout,
    read: Mapping[int, Setting],
    option: str,
    outputs: TrainingOutputs | None = None,
    *,
    quantile: float = 0.95,
    share: float | Literal["likely"] = 0.0,
) -> tuple[Tensor, Tensor]:
    """Like :func:`set_values`, for coordinates given by their places."""
    names = readout.names

    def known() -> TrainingOutputs:
        if outputs is not None:
            return outputs
        low, high = readout.poles
        raise InputError(
            f"`{high}`, `{low}` and others that follow need to know the outputs of training images, which only a run's "
            f"own network has (operator=trained), of at most {MOST} outputs: give numbers in `{option}`, and "
            "edit.others=keep."
        )

    classes = {k: readout.together(k) for k, value in read.items() if isinstance(value, bool)}
    classes = {k: group for k, group in classes.items() if len(group) > 1}
    for k, group in classes.items():  # change the image's class; in a map of many cells, the class of that cell alone
        y = known().swap(y, k, group, all_follow=share != 0 and len(classes) == 1)
    columns = []
    for k, value in read.items():
        if k in classes:
            columns.append(y[:, k])
        elif isinstance(value, bool):
            typical = known().typical(k, value, quantile)
            if math.isnan(typical):
                raise InputError(
                    f"no training image {'has' if value else 'lacks'} {names[k]}, so {readout.text(k, value)} "
                    f"says nothing: give a logit, such as {option}='{{{names[k]}: {4 if value else -4}}}'."
                )
            clear = known().typical(k, value, min(quantile, _CLEAR)) if readout.part(k).grouped else typical
            shows = y[:, k] >= clear if value else y[:, k] <= clear
            columns.append(torch.where(shows, y[:, k], typical))
        else:
            columns.append(torch.full_like(y[:, k], value))
    places, wanted = list(read), torch.stack(columns, dim=1)
    which = torch.zeros(len(names), dtype=torch.bool)
    which[[other for k in places for other in readout.together(k)]] = True
    if share == "likely":
        y = known().likely(y, places, wanted)
    elif share > 0:
        described = known()
        if len(classes) == 1:  # the other settings must not change the class again
            (group,) = classes.values()
            described = described.within(group)
        y = described.follow(y, places, wanted, share)
    else:
        y = y.clone()
        y[:, places] = wanted
    return readout.settled(y, places), which


def by_name(values: Any, option: str) -> Mapping[str, Any]:
    """Read names and values from any form that a user may write them in."""
    if isinstance(values, str) and Path(values).is_file():
        try:
            values = yaml.safe_load(Path(values).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{option}={values} is no file of names and values in YAML: {error}.") from None
    if isinstance(values, Sequence) and not isinstance(values, str):
        if strange := [item for item in values if not isinstance(item, str) or "=" not in item]:
            raise InputError(f'{option} as a list holds name=value, such as ["C#=yes"], got {strange[0]!r}.')
        values = {name: yaml.safe_load(value) for name, _, value in (item.rpartition("=") for item in values)}
    return values if isinstance(values, Mapping | DictConfig) else {}


def share_of(others: float | str, option: str) -> float | Literal["likely"]:
    """Return how far the other outputs follow: ``keep`` is 0, ``follow`` is 1; ``likely`` is worked out per target.

    Raises:
        InputError: If it is none of these and no share in [0, 1].
    """
    if others == "likely":
        return "likely"
    share = _FOLLOW.get(others, others) if isinstance(others, str) else others
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InputError(
            f"{option} must be keep, likely, follow, free, or a share from 0 (keep) to 1 (follow), got {others!r}."
        )
    return float(share)


def beyond_range(values: Tensor, places: Sequence[int], readout: Readout, outputs: TrainingOutputs) -> str | None:
    """Describe which coordinates were set far beyond those of all training images; None if none was.

    Arguments:
        values: The values of S coordinates, [N, S]; NaN where one wasn't set.
        places: The places of these coordinates.
        readout: What they mean.
        outputs: The training outputs.
    """
    low, high = outputs.range
    slack, said = 0.1 * (high - low), []
    for k, column in zip(places, values.T, strict=True):
        if not ((column > high[k] + slack[k]) | (column < low[k] - slack[k])).any():
            continue
        furthest = column[(column - outputs.mean[k]).abs().nan_to_num(-1).argmax()]
        value, least, largest = (readout.text(k, float(output)) for output in (furthest, low[k], high[k]))
        said.append(f"{readout.names[k]} = {value} (training images: {least} to {largest})")
    if not said:
        return None
    return f"set far beyond what any training image shows: {', '.join(said)}. There may be no picture of it."


def contradictions(y: Tensor, places: Sequence[int], readout: Readout, outputs: TrainingOutputs) -> str | None:
    """Describe which pairs of set labels hardly any training image shows; None if there are none.

    Arguments:
        y: Targets, [N, K]; only the first is looked at, as all have the same labels set.
        places: The places of the coordinates that were set.
        readout: What they mean.
        outputs: The training outputs.
    """
    together, on, said = outputs.together, readout.has(readout.decode(y[:1]))[0], []
    for k, other in combinations([k for k in places if readout.part(k).grouped], 2):
        both, first, second = (together[i, j].item() for i, j in ((k, other), (k, k), (other, other)))
        share, chance = both, first * second
        if not on[k]:
            share, chance = second - share, second - chance
        if not on[other]:
            alone = first if on[k] else 1 - first
            share = alone - share if on[k] else 1 - first - second + both
            chance = alone * (1 - second)
        if share < min(_RARE, _LIFT * chance):
            words = [readout.said(i, bool(on[i])) for i in (k, other)]
            said.append(f"{' with '.join(words)} ({f'{100 * share:.2g} %' if share > 0 else 'none'})")
    more = f", or {len(said) - _PAIRS} other pairs" if len(said) > _PAIRS else ""
    return (
        f"hardly any training image shows {', or '.join(said[:_PAIRS])}{more}: such edits rarely take."
        if said
        else None
    )


def far_targets(
    names: Sequence[str], y: Tensor, readout: Readout, outputs: TrainingOutputs, share: float | Literal["likely"] = 0.0
) -> str | None:
    """Describe how many targets [N, K] lie far from all training outputs, with all coordinates taken together, and
    which coordinate makes the furthest one unlikely; None if no target does. ``share`` is how far the other coordinates
    have followed."""
    distance, usual = outputs.far(y)
    far = (distance > 1.5 * usual).nonzero().squeeze(1).tolist()
    if not far:
        return None
    worst = max(far, key=distance.tolist().__getitem__)
    mend = "set less, or fewer at once"
    if share != "likely" and share < 1:
        way = "as far as is needed (edit.others=likely)" if share < 0.3 else "further (edit.others=follow)"
        mend = f"let the others follow, {way}, or {mend}"
    k, expected, deviation = outputs.strangest(y[worst])
    found, lower, upper = (
        readout.text(k, value) for value in (y[worst, k].item(), expected - deviation, expected + deviation)
    )
    which, furthest = f"{len(far)} of {len(y)} targets combine", f"The furthest, {names[worst]},"
    if len(y) == 1:
        which, furthest = "the target combines", "It"
    return (
        f"{which} outputs as no training image does. {furthest} is at {distance[worst]:.1f} deviations (99 % of "
        f"training images: at most {usual:.1f}), above all by "
        f"{readout.names[k]} = {found}, where the others suggest {lower} to {upper}. There may be no picture of it: "
        f"{mend}."
    )
