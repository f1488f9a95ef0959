"""Images as files, and grids of images with labels."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from types import MappingProxyType
from typing import BinaryIO

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

__all__ = ["file_name", "save_animation", "save_grid", "save_image", "save_strip", "to_bytes"]

matplotlib.rcParams["text.parse_math"] = False  # a $ in a label's name is just a $
_WIDE = 22  # letters that fit under an image
_ALSO = {"Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "IPAGothic", "Arial Unicode MS", "Hiragino Sans"}
matplotlib.rcParams["font.sans-serif"] += sorted(_ALSO & {font.name for font in fontManager.ttflist})


def file_name(text: str) -> str:
    """Make a text safe to use in a file's name, on any system."""
    return re.sub(r"[\x00-\x1f/\\:*?\"<>|]", "_", text)


def to_bytes(image: Tensor) -> np.ndarray:
    """Convert an image in [-1, 1], [C, H, W], to uint8 [H, W, 3]; values out of range are clipped."""
    array = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return array if array.shape[2] == 3 else array.repeat(3, axis=2)


def save_image(image: Tensor, path: str | Path) -> None:
    """Write an image in [-1, 1], [C, H, W], as PNG."""
    Image.fromarray(to_bytes(image)).save(path)


def save_grid(
    rows: dict[str, Tensor],
    labels: Sequence[str],
    path: str | Path | BinaryIO,
    per_band: int = 8,
    legend: Mapping[str, tuple[float, float, float]] = MappingProxyType({}),
) -> None:
    """Draw images that belong together in columns, and the columns side by side, in bands.

    Arguments:
        rows: Label of a row to its images, [N, C, H, W] in [-1, 1]; all rows have N images. Underscores in labels are
            drawn as spaces.
        labels: The text under each of the N columns.
        path: The PNG to write.
        per_band: Columns side by side; further columns go below.
        legend: What the images' colours mean, drawn at the bottom: red, green and blue in [0, 1], by name.
    """
    count, height = len(labels), len(rows)
    labels = ["\n".join(fill(line, _WIDE, break_long_words=False) for line in label.split("\n")) for label in labels]
    columns = min(count, per_band)
    bands = -(-count // columns)
    below = 0.12 + 0.13 * max((label.count("\n") + 1 for label in labels), default=1)  # inches: height of the labels
    longest = max((len(line) for label in rows for line in label.split("\n")), default=0)
    margin, band = max(1.1, 0.15 + 0.075 * longest), height * 1.25 + below  # inches: row labels' width, band's height
    width = margin + 1.25 * columns
    longest = max(map(len, legend), default=0)
    across = max(1, int(width / (0.35 + 0.065 * longest)))
    foot = 0.05 + 0.17 * -(-len(legend) // across) if legend else 0.0
    figure = Figure(figsize=(width, band * bands + foot), dpi=120)
    outer = figure.add_gridspec(
        bands,
        1,
        left=margin / figure.get_figwidth(),
        right=0.995,
        top=0.995,
        bottom=(below + foot) / figure.get_figheight(),
        hspace=below / (band - below),
    )
    for b in range(bands):
        inner = outer[b].subgridspec(height, columns, hspace=0.03, wspace=0.03)
        for column in range(columns):
            i = b * columns + column
            for r, (name, images) in enumerate(rows.items()):
                axis = figure.add_subplot(inner[r, column])
                axis.axis("off")
                if i < count:
                    axis.imshow(to_bytes(images[i]), interpolation="nearest")
                if i < count and r == height - 1:
                    axis.text(0.5, -0.04, labels[i], transform=axis.transAxes, ha="center", va="top", fontsize=7)
                if column == 0:
                    axis.text(
                        -0.08,
                        0.5,
                        name.replace("_", " "),
                        transform=axis.transAxes,
                        ha="right",
                        va="center",
                        fontsize=8,
                    )
    if legend:
        handles = [Patch(facecolor=colour, label=name) for name, colour in legend.items()]
        style = {"handlelength": 1, "handletextpad": 0.4, "columnspacing": 1, "labelspacing": 0.2, "borderpad": 0.1}
        figure.legend(handles=handles, loc="lower left", ncols=across, fontsize=7, frameon=False, **style)
    figure.savefig(path)


def save_strip(frames: Tensor, steps: Sequence[int], names: Sequence[str], path: str | Path) -> None:
    """Draw how images take shape: a row per image, a column per step.

    Arguments:
        frames: The predicted clean images, [N, F, C, H, W] in [-1, 1].
        steps: The F steps ``t``.
        names: The names of the N images.
        path: The PNG to write.
    """
    rows = dict(zip(names, frames, strict=True))
    save_grid(rows, [f"t = {t}" for t in steps], path, per_band=len(steps))


def save_animation(frames: Tensor, path: str | Path, seconds: float = 4.0, height: int = 128) -> None:
    """Write an animated GIF of images, side by side, as they take shape; the last frame stays for a while.

    Arguments:
        frames: The predicted clean images, [N, F, C, H, W] in [-1, 1].
        path: The GIF to write.
        seconds: How long it takes.
        height: Least height in pixels; smaller images are enlarged by a whole factor.
    """
    factor = max(1, -(-height // frames.shape[-2]))
    pictures = []
    for moment in frames.unbind(1):
        row = np.concatenate([to_bytes(image) for image in moment], axis=1)
        pictures.append(Image.fromarray(row.repeat(factor, axis=0).repeat(factor, axis=1)))
    pause = int(1000 * seconds / len(pictures))
    durations = [pause] * (len(pictures) - 1) + [1500]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
