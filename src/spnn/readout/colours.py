"""Colours of classes, for pictures of maps and boxes."""

import colorsys
from collections.abc import Sequence

__all__ = ["colours"]


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Red, green and blue in [0, 1] by name. Each hue is far from the ones before it, and every second one is
    darker."""
    hues = {name: k * 0.618 % 1 for k, name in enumerate(names)}  # steps of the golden ratio
    return {name: colorsys.hsv_to_rgb(hue, 0.6, (0.95, 0.6)[k % 2]) for k, (name, hue) in enumerate(hues.items())}
