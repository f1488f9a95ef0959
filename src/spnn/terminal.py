"""Tables on the terminal."""

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_rows"]


def print_rows(titles: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None = None) -> None:
    """Print a table in the terminal's width, or in 160 characters to a log file or a pipe. A table that is too wide but
    has few rows is transposed: one line for each column."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = _table(titles, rows, caption)
    wide = console.measure(table, options=console.options.update(width=10_000)).maximum > console.width
    if wide and len(rows) < len(titles):
        first, *others = zip(titles, *rows, strict=True)
        table = _table(first, others, caption)
    console.print(table)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], caption: str | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=caption)
    for index, title in enumerate(titles):
        table.add_column(escape(title), justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
