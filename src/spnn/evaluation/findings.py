"""What a study found: tables, charts and pictures, as data. The files and the report are made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Bars", "Findings", "Lines", "Matrix", "Pictures", "Table", "Vectors", "with_values"]


@dataclass(frozen=True)
class Table:
    """Rows of named values.

    Attributes:
        name: Of its files.
        caption: What it shows.
        columns: The values to show: key to title. A title that ends in ``%`` shows a share of one in per cent.
        rows: Key to a number, a text, or a pair of numbers, an interval. Keys without a column are in the CSV alone.
    """

    name: str
    caption: str
    columns: dict[str, str]
    rows: list[dict]


def with_values(columns: dict[str, str], rows: list[dict]) -> dict[str, str]:
    """The columns of which some row has a value."""
    return {key: name for key, name in columns.items() if any(row.get(key) is not None for row in rows)}


@dataclass(frozen=True)
class Drawing:
    """What becomes a PNG: the name of its file; what it shows, with its unit."""

    name: str
    title: str


@dataclass(frozen=True)
class Bars(Drawing):
    """A group of bars for each label, one of each series (name to values, one for each label); in per cent, of shares
    of one, or as they are."""

    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    percent: bool = True


@dataclass(frozen=True)
class Lines(Drawing):
    """Curves: the title of the horizontal axis; name to the places and the values of a curve's points; whether an axis
    is logarithmic."""

    x: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Matrix(Drawing):
    """A table of numbers, coloured by size: labels; [rows][columns] shares of one, None where there is none."""

    rows: Sequence[str]
    columns: Sequence[str]
    values: list[list[float | None]]


@dataclass(frozen=True)
class Pictures(Drawing):
    """Images under each other: label of a row to images, [N, C, H, W] in [-1, 1], all rows of N; a text under each of
    the N columns."""

    rows: dict[str, Tensor]
    captions: Sequence[str]


@dataclass(frozen=True)
class Vectors(Drawing):
    """Images beside their labels, as a grid of small squares (the paper's Figure 2): label to images, [N, C, H, W]
    in [-1, 1], and their probabilities, [N, K]; names of the K labels."""

    rows: dict[str, tuple[Tensor, Tensor]]
    names: Sequence[str]


Part = Table | Bars | Lines | Matrix | Pictures | Vectors


@dataclass(frozen=True)
class Findings:
    """All that a study found.

    Attributes:
        title: Of the study.
        compared: What was compared with what, in a sentence or two.
        entries: What goes into ``metrics.json``: a dictionary per method or setting.
        verdicts: What the numbers say, in sentences made from them.
        parts: Tables, charts and pictures, in the order to show them.
    """

    title: str
    compared: str
    entries: list[dict]
    verdicts: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
