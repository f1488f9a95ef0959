"""What networks see in a drawn picture: bars beside those of the original picture, and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import Tensor

from spnn.readout import Readout
from spnn.sampling.drawn import Drawn

__all__ = ["Bars", "bars_of", "chart", "in_words"]

_SET = 12  # the most bars of labels that were set
_OTHERS = 5  # the most bars of other labels: those that changed most
_LEAST = 0.05  # these must have changed by more than this
_NAMED = 8  # the most changed labels named in a sentence
_BEFORE, _AFTER, _WANTED = "#b8bcc4", "#3b73b9", "#111111"


@dataclass(frozen=True)
class Bars:
    """Levels of some labels, from 0 (absent, low) to 1 (present, high); None where there is no value.

    Attributes:
        by: The network that sees them.
        names: The labels' names: those that were set, then the others that changed most.
        wanted, before, after: The level of each label; only labels that were set have a wanted one.
    """

    by: str
    names: list[str]
    wanted: list[float | None]
    before: list[float | None]
    after: list[float | None]


def bars_of(drawn: Drawn, sample: int) -> list[Bars]:
    """What each network sees of the labels that were set in a sample, and of the others that changed most, as judged by
    the last network."""
    readout, last, which = drawn.models.readout, drawn.seen[-1], drawn.problem.edited
    assert which is not None
    edited = _shown(readout, which, last.wanted[sample], last.given, sample)[:_SET]
    others: list[int] = []
    if last.given is not None:
        moved = (readout.level(last.found[sample]) - readout.level(last.given[sample])).abs()
        moved = moved.masked_fill(which, 0)
        others = [k for k in moved.argsort(descending=True).tolist()[:_OTHERS] if moved[k] > _LEAST]
    names = [readout.names[k] for k in [*edited, *others]]
    found = []
    for view in drawn.seen:
        wanted, after = readout.level(view.wanted[sample]).tolist(), readout.level(view.found[sample]).tolist()
        before = None if view.given is None else readout.level(view.given[sample]).tolist()
        found.append(
            Bars(
                view.by,
                names,
                [wanted[k] for k in edited] + [None] * len(others),
                [None if before is None else before[k] for k in [*edited, *others]],
                [after[k] for k in [*edited, *others]],
            )
        )
    return found


def chart(bars: Sequence[Bars]) -> Figure:
    """Draw the bars of each network, side by side: before, after, and a mark at the wanted level."""
    count = len(bars[0].names)
    figure = Figure(figsize=(5.2, 1.1 + 0.36 * count), dpi=110, layout="constrained")
    for axis, some in zip(figure.subplots(1, len(bars), sharey=True, squeeze=False)[0], bars, strict=True):
        rows = range(count)
        if any(x is not None for x in some.before):
            axis.barh([row - 0.19 for row in rows], some.before, 0.34, color=_BEFORE, label="before")
        axis.barh([row + 0.19 for row in rows], some.after, 0.34, color=_AFTER, label="after")
        set_ = [(row, x) for row, x in enumerate(some.wanted) if x is not None]
        axis.plot([x for _, x in set_], [row for row, _ in set_], "|", ms=17, mew=2, color=_WANTED, label="wanted")
        axis.set_yticks(rows, [name.replace("_", " ") for name in some.names], fontsize=9)
        for row, label in enumerate(axis.get_yticklabels()):
            label.set_fontweight("bold" if row < len(set_) else "normal")
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(count - 0.5, -0.5)
        axis.set_xticks([0, 0.5, 1], ["0", "½", "1"], fontsize=8)
        axis.set_title(f"by {some.by}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def in_words(drawn: Drawn, sample: int) -> list[str]:
    """Sentences on whether the last network sees what was set in a sample, and on what else changed."""
    view, edited, listed = drawn.seen[-1], drawn.problem.edited, drawn.models.readout.listed
    assert edited is not None
    by = f"{view.by[0].upper()}{view.by[1:]}" if view.by != "g" else view.by
    failed = listed(~view.right[sample] & edited)
    said = [f"{by} doesn't see it yet: {', '.join(failed)}." if failed else f"{by} sees what you set."]
    if drawn.per_target > 1:
        said.append(f"It does in {int(view.took(edited).sum())} of {drawn.per_target} variants.")
    if (others := view.changed(edited)) is not None:
        changed = listed(others[sample])
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        said.append(f"Also changed, by {view.by}: {', '.join(changed[:_NAMED]) or 'nothing'}{more}.")
    return said


def _shown(readout: Readout, edited: Tensor, wanted: Tensor, given: Tensor | None, sample: int) -> list[int]:
    """The places of the labels that were set; among classes, only those of the wanted class and of the one before."""
    has = readout.has(readout.decode(wanted[None]))[0]
    if given is not None:
        has = has | readout.has(readout.decode(given[sample][None]))[0]
    return [k for k in edited.nonzero().flatten().tolist() if len(readout.together(k)) == 1 or has[k]]
