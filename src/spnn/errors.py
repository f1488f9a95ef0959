"""The errors whose message is all that a user needs: entry scripts print it alone, without a traceback."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["InputError", "NonFiniteLossError", "nearest", "some_of"]


class InputError(ValueError):
    """Bad input (an option, a file, a shape): what was found, what was expected, what to do."""

    def __init__(self, message: str = ""):
        # PyTorch's loaders raise a worker's error anew, with the worker's traceback before the message.
        super().__init__(message.rpartition(f"{__name__}.InputError: ")[2].rstrip())


class NonFiniteLossError(RuntimeError):
    """Training reached a loss that is NaN or infinite."""


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of a list of names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def nearest(name: str, names: Iterable[str], most: int = 3) -> str:
    """Names that an unknown one may have been meant to be, for a message; empty if none is near."""
    found = difflib.get_close_matches(name, sorted(names), n=most)
    return f" (did you mean {' or '.join(found)}?)" if found else ""
