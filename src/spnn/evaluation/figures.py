"""Draw findings as PNGs: bars, curves, coloured matrices, and vectors of labels next to their images.

Colours are Okabe and Ito's, or scales that colour-blind people can read.
"""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from spnn.evaluation.findings import Bars, Lines, Matrix, Pictures, Vectors
from spnn.sampling.pictures import save_grid, to_bytes

__all__ = ["draw", "save_figure"]

_COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999", "#000000"]
_MARKERS = "osD^vPX*"


def save_figure(part: Bars | Lines | Matrix | Pictures | Vectors, folder: Path) -> Path:
    """Draw ``<name>.png``; return the file."""
    path = folder / f"{part.name}.png"
    if isinstance(part, Pictures):
        save_grid(part.rows, part.captions, path)
    else:
        draw(part).savefig(path)
    return path


_HALF_LINE = 50  # the longest legend text, in characters, that fits two columns


def draw(*parts: Bars | Lines | Matrix | Vectors) -> Figure:
    """Draw a chart, or several charts of curves side by side."""
    drawn_by: dict[type, Callable[..., Figure]] = {Bars: _bars, Lines: _lines, Matrix: _matrix, Vectors: _vectors}
    return drawn_by[type(parts[0])](*parts)


def _bars(bars: Bars) -> Figure:
    factor = 100 if bars.percent else 1
    thickness = 0.84 / len(bars.series)
    places = np.arange(len(bars.labels))[::-1]  # the first label on top
    figure = Figure(figsize=(7.5, 1.4 + max(0.26, 0.08 * len(bars.series)) * len(bars.labels)), dpi=120)
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    for i, (name, values) in enumerate(bars.series.items()):
        heights = factor * np.array([np.nan if value is None else value for value in values])
        offset = ((len(bars.series) - 1) / 2 - i) * thickness
        mean = f"{np.nanmean(heights):.1f} %" if bars.percent else f"{np.nanmean(heights):.3f}"
        colour = _COLOURS[i % len(_COLOURS)]
        axis.barh(places + offset, heights, thickness, color=colour, label=f"{name}: {mean} on average")
    axis.set_yticks(places, [label.replace("_", " ") for label in bars.labels], fontsize=8)
    if bars.percent:
        axis.set_xlim(0, 100)
    axis.set_ylim(-0.6, len(bars.labels) - 0.4)
    axis.set_xlabel(f"{bars.title}, %" if bars.percent else bars.title)
    axis.grid(axis="x", alpha=0.3)
    _tidy(axis)
    longest = max(len(text) for text in axis.get_legend_handles_labels()[1])
    columns = 1 if longest > _HALF_LINE else min(2, len(bars.series))
    figure.legend(loc="outside upper center", ncols=columns, frameon=False, fontsize=8)
    return figure


def _lines(*curves: Lines) -> Figure:
    """Draw charts of curves side by side."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    width, height = (6, 3.8) if columns == 1 else (4 * columns, 2.6 * rows)
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    for place, lines in enumerate(curves, start=1):
        _curves(figure.add_subplot(rows, columns, place), lines)
    return figure


def _curves(axis: Axes, lines: Lines) -> None:
    for i, (name, (x, y)) in enumerate(lines.series.items()):
        turn = i // len(_COLOURS)  # markers differ, too, and when the colours run out, markers become hollow
        marker = _MARKERS[(i + 3 * turn) % len(_MARKERS)] if len(x) < 40 else None
        style: dict[str, Any] = {"linestyle": "--" if i % 2 else "-", "color": _COLOURS[i % len(_COLOURS)]}
        style |= {"linestyle": ":", "markerfacecolor": "none"} if turn else {}
        axis.plot(x, y, marker=marker, markersize=4, linewidth=1.4, label=name, **style)
    axis.set(xlabel=lines.x, ylabel=lines.title)
    if lines.log_x:
        axis.set_xscale("log")
    if lines.log_y:
        axis.set_yscale("log")
    axis.grid(alpha=0.3)
    _tidy(axis)
    beside = len(lines.series) > len(_COLOURS)
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else {}
    axis.legend(frameon=False, fontsize=8, **place)


def _matrix(matrix: Matrix) -> Figure:
    values = np.array([[np.nan if value is None else 100 * value for value in row] for row in matrix.values])
    cell, few = (0.9, True) if len(matrix.columns) <= 12 else (0.2, False)
    figure = Figure(figsize=(2.4 + cell * len(matrix.columns), 1.4 + max(0.2, cell / 2) * len(matrix.rows)), dpi=120)
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    signed = np.nanmin(values) < -0.5
    limit = max(1.0, np.nanmax(np.abs(values)))
    scale = {"cmap": "PuOr", "vmin": -limit, "vmax": limit} if signed else {"cmap": "cividis"}
    image = axis.imshow(values, aspect="auto", **scale)
    turned: dict[str, Any] = {} if few else {"rotation": 90}
    axis.set_xticks(range(len(matrix.columns)), [c.replace("_", " ") for c in matrix.columns], fontsize=7, **turned)
    axis.set_yticks(range(len(matrix.rows)), [row.replace("_", " ") for row in matrix.rows], fontsize=7)
    axis.set_title(matrix.title, fontsize=9)
    for (row, column), value in np.ndenumerate(values):
        if few and np.isfinite(value):
            shade = float(np.asarray(image.norm(value)))
            bright = 0.3 < shade < 0.7 if signed else shade > 0.55
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", color="black" if bright else "white")
    if not few:
        figure.colorbar(image, ax=axis, shrink=0.5, label="%")
    return figure


def _vectors(vectors: Vectors) -> Figure:
    count, labels = len(next(iter(vectors.rows.values()))[0]), len(vectors.names)
    columns = min(8, labels)
    legend = _legend(vectors.names)
    height = 1.55 * count
    figure = Figure(figsize=(4.1 * len(vectors.rows), height + 0.55 + 0.13 * legend.count("\n")), dpi=120)
    top, bottom = 1 - 0.25 / figure.get_figheight(), 1 - (0.25 + height) / figure.get_figheight()
    grid = figure.add_gridspec(
        count, 2 * len(vectors.rows), width_ratios=[1.2, 2] * len(vectors.rows), left=0.01, right=0.99, top=top,
        bottom=bottom, wspace=0.08, hspace=0.12,
    )  # fmt: skip
    reference = next(iter(vectors.rows.values()))[1]
    for c, (label, (images, probabilities)) in enumerate(vectors.rows.items()):
        for i in range(count):
            axis = figure.add_subplot(grid[i, 2 * c])
            axis.imshow(to_bytes(images[i]), interpolation="nearest")
            axis.axis("off")
            if i == 0:
                axis.set_title(label, fontsize=8)
            axis = figure.add_subplot(grid[i, 2 * c + 1])
            _squares(axis, probabilities[i], reference[i], columns)
    figure.text(0.01, 0.02, legend, fontsize=6.5, va="bottom", linespacing=1.4)
    return figure


def _squares(axis: Axes, probability: Tensor, reference: Tensor, columns: int) -> None:
    """A square per label, from violet (absent, low) to orange (present, high); framed where the reference differs."""
    count = len(probability)
    rows = -(-count // columns)
    values = np.full(rows * columns, np.nan)
    values[:count] = probability.numpy()
    axis.imshow(values.reshape(rows, columns), cmap="PuOr_r", vmin=0, vmax=1)
    for index in range(count):
        row, column = divmod(index, columns)
        strong = abs(values[index] - 0.5) > 0.3
        axis.text(
            column, row, str(index + 1), ha="center", va="center", fontsize=5.5, color="white" if strong else "black"
        )
        if (probability[index] > 0.5) != (reference[index] > 0.5):
            axis.add_patch(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, fill=False, edgecolor="#009E73", lw=1.8))
    axis.axis("off")


def _legend(labels: Sequence[str]) -> str:
    names = [f"{i} {name.replace('_', ' ')}" for i, name in enumerate(labels, start=1)]
    unbroken = "   ".join(name.replace(" ", "\xa0") for name in names)
    meaning = "orange: present or high, violet: absent or low; framed where a sample differs from the held-out image"
    return "\n".join([*textwrap.wrap(unbroken, 150), meaning])


def _tidy(axis: Axes) -> None:
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
