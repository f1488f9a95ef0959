"""Tables as CSV, Markdown and LaTeX, and on the terminal."""

import csv
from collections.abc import Sequence
from pathlib import Path

from spnn.evaluation.findings import Table
from spnn.sweeps import format_metric
from spnn.terminal import print_rows

__all__ = ["cells", "print_table", "save_table"]


def cells(table: Table) -> list[list[str]]:
    """The texts of a table's cells, by row."""
    return [[_text(row.get(key), title) for key, title in table.columns.items()] for row in table.rows]


def save_table(table: Table, folder: Path) -> None:
    """Write ``<name>.csv`` with all values, and ``<name>.md`` and ``<name>.tex`` with those that have a column."""
    with (folder / f"{table.name}.csv").open("w", newline="") as file:
        keys = list(dict.fromkeys(key for row in table.rows for key in row))
        writer = csv.writer(file)
        pairs = {key for row in table.rows for key, value in row.items() if _is_pair(value)}
        writer.writerow([name for key in keys for name in ((f"{key}_low", f"{key}_high") if key in pairs else (key,))])
        for row in table.rows:
            values = ((row.get(key) or ("", "")) if key in pairs else (row.get(key),) for key in keys)
            writer.writerow([value for some in values for value in some])
    if table.columns:
        (folder / f"{table.name}.md").write_text(_markdown(table))
        (folder / f"{table.name}.tex").write_text(_latex(table))


def print_table(table: Table) -> None:
    """Print a table on the terminal."""
    print_rows(list(table.columns.values()), cells(table), table.caption)


def _text(value: float | str | Sequence[float] | None, title: str) -> str:
    if _is_pair(value):
        return "–".join(format_metric(end, title) for end in value)
    if value is None or isinstance(value, str):
        return value or ""
    small = 0 < abs(value) < 1e-3 and not title.endswith("%")
    return f"{value:.1e}" if small else format_metric(value, title) if isinstance(value, float) else str(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple)


def _markdown(table: Table) -> str:
    titles = list(table.columns.values())
    lines = [f"{table.caption}\n", titles, ["---", *["---:"] * (len(titles) - 1)], *cells(table)]
    return "\n".join(line if isinstance(line, str) else f"| {' | '.join(line)} |" for line in lines) + "\n"


def _latex(table: Table) -> str:
    titles = [_escape(title) for title in table.columns.values()]
    body = "\n".join(" & ".join(map(_escape, row)) + r" \\" for row in cells(table))
    return (
        f"% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\caption{{{_escape(table.caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}\n\\toprule\n{' & '.join(titles)} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


_LATEX = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "–": "--", "−": "$-$", "†": r"$^\dagger$"}
_LATEX |= {"|": r"$|$", "λ": r"$\lambda$", "≥": r"$\geq$", "‖": r"$\|$", "²": "$^2$", "+": "$+$"}


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
