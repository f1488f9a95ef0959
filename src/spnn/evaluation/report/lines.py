"""Curves as SVG inside the page: it takes the page's colours, light or dark."""

import math
from collections.abc import Callable
from html import escape

__all__ = ["lines_svg"]

_WIDTH, _HEIGHT = 480, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 52
_SERIES = 8  # colours that there are


def lines_svg(series: dict[str, tuple[list[float], list[float]]], x: str, *, log_x: bool, log_y: bool) -> str:
    """Draw curves.

    Arguments:
        series: Name to the places and the values of its points.
        x: Title of the horizontal axis.
        log_x, log_y: Whether an axis is logarithmic; what is not positive is left out there.
    """
    kept = {name: _points(*points, log_x, log_y) for name, points in series.items()}
    points = [point for curve in kept.values() for point in curve]
    if not points:
        return ""
    across, ticks_x = _axis([p[0] for p in points], log_x, _LEFT, _WIDTH - _RIGHT)
    up, ticks_y = _axis([p[1] for p in points], log_y, _HEIGHT - _BOTTOM, _TOP)
    drawn = []
    for value in ticks_y:
        y = up(value)
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 5:.1f}" text-anchor="end">{_short(value)}</text>')
    base = _HEIGHT - _BOTTOM
    for value in ticks_x:
        drawn.append(
            f'<line class="axis" x1="{across(value):.1f}" x2="{across(value):.1f}" y1="{base}" y2="{base + 5}"/>'
        )
        drawn.append(f'<text x="{across(value):.1f}" y="{base + 20}" text-anchor="middle">{_short(value)}</text>')
    drawn.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    for i, curve in enumerate(kept.values()):
        path = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in curve)
        dashes = ' stroke-dasharray="7 4"' if i % 2 else ""  # not by colour alone
        drawn.append(f'<polyline points="{path}" style="stroke: var(--series-{i % _SERIES})"{dashes}/>')
        if len(curve) < 40:
            drawn += [
                f'<circle cx="{across(a):.1f}" cy="{up(b):.1f}" r="3.5" style="fill: var(--series-{i % _SERIES})"/>'
                for a, b in curve
            ]
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(x)}">{"".join(drawn)}</svg>'


def _points(x: list[float], y: list[float], log_x: bool, log_y: bool) -> list[tuple[float, float]]:
    return [
        (a, b)
        for a, b in zip(x, y, strict=True)
        if None not in (a, b) and math.isfinite(b) and not (log_x and a <= 0) and not (log_y and b <= 0)
    ]


def _axis(values: list[float], log: bool, start: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """From a value to its place, and the values to mark."""
    low, high = min(values), max(values)
    if log:
        low, high = math.log10(low), math.log10(high)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        at = math.log10(value) if log else value
        return start + (end - start) * (at - low) / (high - low)

    return place, _log_ticks(low, high) if log else _ticks(low, high)


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= 5)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            break
    return ticks[:: -(-len(ticks) // 6)]


def _short(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:g}"
