"""Tables on the terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_rows"]


def print_rows(titles: Sequence[str], rows: Iterable[Sequence[str]], caption: str | None = None) -> None:
    """Print a table in the terminal's width; a log file or a pipe has room for wide ones."""
    table = Table(box=box.SIMPLE_HEAD, title=caption)
    for index, title in enumerate(titles):
        table.add_column(title, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
