"""Tables as CSV, Markdown and LaTeX, and on the terminal."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spnn.evaluation.findings import Table
from spnn.sweeps import format_metric
from spnn.terminal import print_rows

__all__ = ["cells", "print_table", "save_table", "split_pairs"]


def cells(table: Table) -> list[list[str]]:
    """The text of a table's cells, row by row."""
    return [[_text(row.get(key), title) for key, title in table.columns.items()] for row in table.rows]


def split_pairs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with each pair of numbers, ``key``, split into ``key_low`` and ``key_high``."""
    pairs = {key for row in rows for key, value in row.items() if _is_pair(value)}
    split: list[dict[str, Any]] = [{} for _ in rows]
    for row, values in zip(rows, split, strict=True):
        for key, value in row.items():
            if key in pairs:
                values[f"{key}_low"], values[f"{key}_high"] = value or (None, None)
            else:
                values[key] = value
    return split


def save_table(table: Table, folder: Path) -> None:
    """Write ``<name>.csv`` with all values, and ``<name>.md`` and ``<name>.tex`` with the values that have a column."""
    rows = split_pairs(table.rows)
    with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    if table.columns:
        (folder / f"{table.name}.md").write_text(_markdown(table), encoding="utf-8")
        (folder / f"{table.name}.tex").write_text(_latex(table), encoding="utf-8")


def print_table(table: Table) -> None:
    """Print a table on the terminal."""
    print_rows(list(table.columns.values()), cells(table), table.caption)


def _text(value: float | str | list[float] | tuple[float, ...] | None, title: str) -> str:
    if isinstance(value, list | tuple):
        return "–".join(format_metric(end, title) for end in value)
    if value is None or isinstance(value, str):
        return value or ""
    small = 0 < abs(value) < 1e-3 and not title.endswith("%")
    return f"{value:.1e}" if small else format_metric(value, title) if isinstance(value, float) else str(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple)


def _markdown(table: Table) -> str:
    titles = list(table.columns.values())
    rows = [titles, ["---", *["---:"] * (len(titles) - 1)], *cells(table)]
    rows = [[text.replace("|", r"\|") for text in row] for row in rows]
    return "\n".join([f"{table.caption}\n", *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _latex(table: Table) -> str:
    head, *body = (" & ".join(map(_escape, texts)) + r" \\" for texts in ([*table.columns.values()], *cells(table)))
    columns = f"l{'r' * (len(table.columns) - 1)}"
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", rf"\caption{{{_escape(table.caption)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}"]) + "\n"


_LATEX = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "–": "--", "−": "$-$", "†": r"$^\dagger$"}
_LATEX |= {"|": r"$|$", "λ": r"$\lambda$", "≥": r"$\geq$", "‖": r"$\|$", "²": "$^2$", "+": "$+$"}


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
