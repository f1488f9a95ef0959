"""What a study found: tables, charts and pictures, as data from which the files and the report are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Bars", "Findings", "Lines", "Matrix", "Pictures", "Table", "Vectors", "with_values"]


@dataclass(frozen=True)
class Table:
    """Rows of named values.

    Attributes:
        name: The name of its files.
        caption: What it shows.
        columns: The values to show: key to title. If a title ends in ``%``, a share of one is shown in per cent.
        rows: Key to a number, a text, or an interval (a pair of numbers). Keys without a column are only in the CSV.
    """

    name: str
    caption: str
    columns: dict[str, str]
    rows: list[dict]


def with_values(columns: dict[str, str], rows: list[dict]) -> dict[str, str]:
    """The columns in which at least one row has a value."""
    return {key: name for key, name in columns.items() if any(row.get(key) is not None for row in rows)}


@dataclass(frozen=True)
class Drawing:
    """A part that becomes a PNG: the name of its file; and a title, what it shows, with the unit."""

    name: str
    title: str


@dataclass(frozen=True)
class Bars(Drawing):
    """A group of bars for each label, with one bar from each series (name to values, one for each label). With
    ``percent``, values are shares of one, shown in per cent."""

    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    percent: bool = True


@dataclass(frozen=True)
class Lines(Drawing):
    """Curves: the title of the horizontal axis; name to the x and the y of a curve's points; whether each axis is
    logarithmic."""

    x: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Matrix(Drawing):
    """A table of numbers, coloured by size: labels of both; shares of one, [rows][columns], None for a gap."""

    rows: Sequence[str]
    columns: Sequence[str]
    values: list[list[float | None]]


@dataclass(frozen=True)
class Pictures(Drawing):
    """Rows of images: a row's label to its images, [N, C, H, W] in [-1, 1], N the same in all rows; and a text under
    each of the N columns."""

    rows: dict[str, Tensor]
    captions: Sequence[str]


@dataclass(frozen=True)
class Vectors(Drawing):
    """Images next to their labels, as a grid of small squares (the paper's Figure 2): label to images, [N, C, H, W]
    in [-1, 1], and their probabilities, [N, K]; and the names of the K labels."""

    rows: dict[str, tuple[Tensor, Tensor]]
    names: Sequence[str]


Part = Table | Bars | Lines | Matrix | Pictures | Vectors


@dataclass(frozen=True)
class Findings:
    """All that a study found.

    Attributes:
        title: The study's title.
        compared: What was compared with what, in a sentence or two.
        entries: The content of ``metrics.json``: a dictionary per method or setting.
        verdicts: Sentences, generated from the numbers, that say what these show.
        parts: Tables, charts and pictures, in the order in which to show them.
    """

    title: str
    compared: str
    entries: list[dict]
    verdicts: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
