"""The parts of findings as HTML."""

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from spnn.evaluation.findings import Table
from spnn.evaluation.report.lines import lines_svg
from spnn.evaluation.tables import cells

__all__ = ["lines_html", "part_html", "table_html"]

_SERIES = 8  # colours that there are
_BAND = 8  # pictures side by side
_LARGEST = 160  # pixels of a picture's side in the page
_FEW = 12  # columns of a matrix whose numbers can be read


def part_html(part: dict[str, Any], folder: Path) -> str:
    """A part of ``findings.json`` as HTML; its pictures are read from the study's folder."""
    kind = part["kind"]
    if kind == "Table":
        table = Table(part["name"], part["caption"], part["columns"], part["rows"])
        if not table.columns:
            return ""
        shown = table_html(table)
        return _folded(f"{part['caption']} ({len(table.rows)} rows)", shown) if len(table.rows) > 24 else shown
    title = f"<h3>{escape(part['title'].replace('_', ' '))}</h3>"
    if kind == "Bars":
        return title + _bars(part)
    if kind == "Lines":
        return lines_html(part["title"], part["x"], part["series"], log_x=part["log_x"], log_y=part["log_y"])
    if kind == "Pictures":
        return title + _pictures(part, folder)
    if kind == "Matrix" and len(part["columns"]) <= _FEW:
        return title + _matrix(part)
    return title + _drawn(folder / f"{part['name']}.png", part["title"])


def table_html(table: Table) -> str:
    """A table; columns of texts are set to the left, those of numbers to the right."""
    kinds = {key: _kind([row.get(key) for row in table.rows]) for key in table.columns}
    head = "".join(f"<th{kinds[key]}>{escape(title)}</th>" for key, title in table.columns.items())
    lines = []
    for texts in cells(table):
        line = (f"<td{kind}>{escape(text)}</td>" for text, kind in zip(texts, kinds.values(), strict=True))
        lines.append(f"<tr>{''.join(line)}</tr>")
    body = "".join(lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _kind(values: list[Any]) -> str:
    """The class of a column's cells: long texts may be broken."""
    texts = [value for value in values if isinstance(value, str)]
    if not texts:
        return ""
    return ' class="text long"' if max(map(len, texts)) > 30 else ' class="text"'


def lines_html(title: str, x: str, series: dict[str, Any], *, log_x: bool = False, log_y: bool = False) -> str:
    """Curves with their title and legend."""
    drawn = lines_svg(series, x, log_x=log_x, log_y=log_y)
    return f"<div><h3>{escape(title)}</h3>{_legend(series)}{drawn}</div>"


def _legend(names: Any) -> str:
    keys = "".join(
        f'<span><i style="background: var(--series-{i % _SERIES})"></i>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<div class="legend">{keys}</div>'


def _bars(part: dict[str, Any]) -> str:
    factor, unit = (100, " %") if part["percent"] else (1, "")
    values = {name: [None if v is None else factor * v for v in row] for name, row in part["series"].items()}
    largest = 100 if part["percent"] else max((v for row in values.values() for v in row if v is not None), default=1)
    means = {}
    for name, row in values.items():
        there = [v for v in row if v is not None]
        mean = sum(there) / len(there) if there else 0
        means[f"{name}: {mean:.{1 if unit else 3}f}{unit} on average"] = row
    rows = []
    for g, label in enumerate(part["labels"]):
        tracks = "".join(
            f'<i style="width: {100 * (row[g] or 0) / (largest or 1):.1f}%; background: var(--series-{i % _SERIES})"'
            f' title="{escape(name)}: {0 if row[g] is None else row[g]:.3g}{unit}"></i>'
            for i, (name, row) in enumerate(values.items())
        )
        first = next(iter(values.values()))[g]
        value = "" if first is None else f"{first:.{0 if unit else 3}f}{unit}"
        rows.append(
            f'<span>{escape(label.replace("_", " "))}</span><span class="tracks">{tracks}</span>'
            f'<span class="value">{value}</span>'
        )
    return f'{_legend(means)}<div class="bars">{"".join(rows)}</div>'


def _matrix(part: dict[str, Any]) -> str:
    values = [value for row in part["values"] for value in row if value is not None]
    low, high = min(values), max(values)
    head = "".join(f"<th>{escape(column)}</th>" for column in part["columns"])
    lines = []
    for label, row in zip(part["rows"], part["values"], strict=True):
        shaded = "".join(
            "<td></td>"
            if value is None
            else f'<td style="background: rgba(var(--heat), {0.45 * (value - low) / ((high - low) or 1):.2f})">'
            f"{100 * value:.1f}</td>"
            for value in row
        )
        lines.append(f"<tr><td>{escape(label)}</td>{shaded}</tr>")
    rows = "".join(lines)
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _pictures(part: dict[str, Any], folder: Path) -> str:
    rows, captions = part["rows"], part["captions"]
    with Image.open(folder / f"{part['name']}.tiles.png") as tiles:
        tiles.load()
    width, height = tiles.width // len(captions), tiles.height // len(rows)

    def tile(row: int, column: int) -> str:
        box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
        image = tiles.crop(box)
        image.thumbnail((_LARGEST, _LARGEST))  # of those that are larger
        alt = f"{rows[row]}, {captions[column]}".replace("\n", " ")
        return f'<td><img alt="{escape(alt)}" src="{_embedded(image)}"></td>'

    bands = []
    for start in range(0, len(captions), _BAND):
        columns = range(start, min(start + _BAND, len(captions)))
        lines = [
            f"<tr><th>{escape(label)}</th>{''.join(tile(r, column) for column in columns)}</tr>"
            for r, label in enumerate(rows)
        ]
        named = "".join(f"<td>{escape(captions[column])}</td>" for column in columns)
        bands.append(
            f'<div class="scroll"><table class="tiles">{"".join(lines)}<tr><th></th>{named}</tr></table></div>'
        )
    return "".join(bands)


def _drawn(path: Path, title: str) -> str:
    """A drawing on white, as it was made."""
    with Image.open(path) as image:
        source = _embedded(image)
    return f'<div class="scroll paper"><img alt="{escape(title)}" src="{source}"></div>'


def _embedded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _folded(summary: str, html: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"
