"""What a study found: tables, charts and pictures, as data. The files and the report are made from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Bars", "Findings", "Lines", "Matrix", "Pictures", "Table", "Vectors"]


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


@dataclass(frozen=True)
class Bars:
    """A group of bars for each label, one of each series.

    Attributes:
        name: Of its file.
        title: What is shown, with its unit.
        labels: Of the groups.
        series: Name to values, one for each label.
        percent: Whether the values are shares of one, shown in per cent.
    """

    name: str
    title: str
    labels: Sequence[str]
    series: dict[str, list[float]]
    percent: bool = True


@dataclass(frozen=True)
class Lines:
    """Curves.

    Attributes:
        name: Of its file.
        title: What is shown, with its unit.
        x: Title of the horizontal axis.
        series: Name to the places and the values of its points.
        log_x, log_y: Whether an axis is logarithmic.
    """

    name: str
    title: str
    x: str
    series: dict[str, tuple[list[float], list[float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Matrix:
    """A table of numbers, coloured by size.

    Attributes:
        name: Of its file.
        title: What is shown.
        rows, columns: Labels.
        values: [rows][columns], shares of one; None where there is none.
    """

    name: str
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: list[list[float | None]]


@dataclass(frozen=True)
class Pictures:
    """Images that belong together, under each other.

    Attributes:
        name: Of its files.
        title: What they are.
        rows: Label to images, [N, C, H, W] in [-1, 1]; all rows have N.
        captions: A text under each of the N columns.
    """

    name: str
    title: str
    rows: dict[str, Tensor]
    captions: Sequence[str]


@dataclass(frozen=True)
class Vectors:
    """Images beside their attributes, as a grid of small squares (the paper's Figure 2).

    Attributes:
        name: Of its file.
        title: What they are.
        rows: Label to images [N, C, H, W] in [-1, 1] and their probabilities [N, K].
        attributes: Names of the K attributes.
    """

    name: str
    title: str
    rows: dict[str, tuple[Tensor, Tensor]]
    attributes: Sequence[str]


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
    parts: list[Table | Bars | Lines | Matrix | Pictures | Vectors] = field(default_factory=list)
