"""Colours of classes, for pictures of maps and boxes."""

import colorsys
from collections.abc import Sequence

__all__ = ["colours"]


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Red, green and blue in [0, 1] by name: hues, each far from the ones before, and every second one darker."""
    hues = {name: k * 0.618 % 1 for k, name in enumerate(names)}  # the golden ratio's
    return {name: colorsys.hsv_to_rgb(hue, 0.6, (0.95, 0.6)[k % 2]) for k, (name, hue) in enumerate(hues.items())}
