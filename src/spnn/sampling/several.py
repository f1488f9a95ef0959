"""Several values for one label: one after the other (a sweep), or each in its share of the samples."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from spnn.errors import InputError
from spnn.outputs import TrainingOutputs
from spnn.readout import Readout

__all__ = ["at_shares", "in_turn"]


def in_turn(
    given: Any, count: int, readout: Readout, known: TrainingOutputs | None, quantile: float
) -> tuple[str, list[Any]]:
    """Return a label's name, and the values that a sweep sets it to, as a user would write them.

    Arguments:
        given: ``{yaw: [-3, 0, low]}``, or a name alone. The name of a class label stands for all of its classes, any
            other name for ``count`` evenly spaced values, from what is typical of images that lack the label (or where
            it is low) to what is typical of images that have it (or where it is high).
        count: How many values a name alone stands for.
        readout: The readout that the label belongs to.
        known: The training outputs.
        quantile: The quantile of the training outputs that counts as typical.

    Raises:
        InputError: If ``given`` is none of these, or the typical values aren't known.
    """
    example = f"give sweep.set={readout.names[0]}, or its values, sweep.set='{{{readout.names[0]}: [0, 1]}}'"
    if isinstance(given, Mapping):
        if len(given) != 1 or not isinstance(values := next(iter(given.values())), list) or not values:
            raise InputError(f"a sweep sets one label to a list of values, got {dict(given)}: {example}.")
        if len({str(value) for value in values}) < len(values):
            raise InputError(f"a sweep sets each value once, got {values}.")
        return str(next(iter(given))), values
    if not isinstance(given, str):
        raise InputError(f"nothing to sweep: {example}. Got {given!r}.")
    places = readout.places(given)
    if len(places) > 1:
        values = [readout.chosen(row, row > 0).get(given) for row in torch.eye(len(readout.names))[places]]
        if None in values:  # parts of a map, say
            raise InputError(f"{given} can't be swept by its name alone: give values, sweep.set='{{{given}: [...]}}'.")
        return given, values
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise InputError(f"sweep.values must be a whole number of at least 2, got {count!r}.")
    low, high = (math.nan if known is None else known.typical(places[0], has, quantile) for has in (False, True))
    if math.isnan(low) or math.isnan(high):
        raise InputError(
            f"what is low and high of {given} isn't known: give values, such as sweep.set='{{{given}: [-4, 0, 4]}}'."
        )
    rows = torch.full((count, len(readout.names)), torch.nan)
    rows[:, places[0]] = torch.linspace(low, high, count)
    return given, [float(f"{value:.3g}") for value in readout.shown(rows)[:, places[0]].tolist()]


def at_shares(wanted: Mapping[str, Any], count: int, seed: int) -> list[dict[str, Any]]:
    """Return what each of ``count`` samples should show: ``{class: {cat: 70%, dog: 30%}}`` gives each value its share
    of the samples, exactly except for rounding. Several names are shared out independently.

    Arguments:
        wanted: Name to value, or to a mapping from values to shares.
        count: The number of samples.
        seed: Decides which sample gets which value, for all names but the first.

    Raises:
        InputError: If shares are not numbers that add up to 1.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for number, (name, value) in enumerate(wanted.items()):
        values = _shared_out(name, value, count) if isinstance(value, Mapping) else [value] * count
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed + number)).tolist()
        for i, row in enumerate(rows):
            row[name] = values[order[i] if number else i]
    return rows


def _shared_out(name: str, shares: Mapping[Any, Any], count: int) -> list[Any]:
    """The values of ``count`` samples, rounded by the largest remainders of their shares."""
    numbers = {value: _share(share) for value, share in shares.items()}
    if any(math.isnan(share) for share in numbers.values()) or abs(sum(numbers.values()) - 1) > 1e-3:
        raise InputError(
            f"the shares of {name} must be numbers that add up to 1 (or 100%), got {dict(shares)}: such as "
            f"{{{name}: {{one: 70%, other: 30%}}}}."
        )
    exact = {value: share * count for value, share in numbers.items()}
    counts = {value: math.floor(n + 1e-6) for value, n in exact.items()}
    by_remainder = sorted(exact, key=lambda value: counts[value] - exact[value])
    for value in by_remainder[: count - sum(counts.values())]:
        counts[value] += 1
    return [value for value, n in counts.items() for _ in range(n)]


def _share(share: Any) -> float:
    """Read a share in [0, 1]; NaN if it isn't one."""
    try:
        number = float(share.removesuffix("%")) / 100 if isinstance(share, str) else float(share)
    except (TypeError, ValueError):
        return math.nan
    return number if 0 <= number <= 1 and not isinstance(share, bool) else math.nan
