"""The figures of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["save_agreement_chart"]

# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = ["#0072B2", "#E69F00", "#999999", "#009E73", "#CC79A7", "#D55E00"]


def save_agreement_chart(agreement: Mapping[str, Tensor], attributes: Sequence[str], path: str | Path) -> None:
    """Draw the agreement of each attribute, a group of bars each, one bar per method, and the means.

    Arguments:
        agreement: Method to its agreement per attribute, [K], in [0, 1].
        attributes: Names of the K attributes.
        path: The PNG to write.
    """
    order = np.argsort(next(iter(agreement.values())).numpy())
    thickness = 0.84 / len(agreement)
    places = np.arange(len(attributes))
    figure = Figure(figsize=(7.5, 1.2 + 0.26 * len(attributes)), dpi=120, layout="constrained")
    axis = figure.subplots()
    for i, (method, values) in enumerate(agreement.items()):
        offset = (len(agreement) - 1) / 2 - i
        axis.barh(
            places + offset * thickness,
            100 * values.numpy()[order],
            thickness,
            color=_COLOURS[i % len(_COLOURS)],
            label=f"{method}: {100 * values.mean():.1f} % on average",
        )
    axis.set_yticks(places, [attributes[i].replace("_", " ") for i in order], fontsize=8)
    axis.set_xlim(0, 100)
    axis.set_ylim(-0.6, len(attributes) - 0.4)
    axis.set_xlabel("binary agreement with the wanted attribute, %")
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=min(3, len(agreement)), frameon=False, fontsize=8)
    figure.savefig(path)
