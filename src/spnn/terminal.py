"""Where tables are printed."""

import sys

from rich.console import Console

__all__ = ["console"]


def console() -> Console:
    """The terminal, in its width; a log file or a pipe has room for wide tables."""
    return Console(width=None if sys.stdout.isatty() else 160)
