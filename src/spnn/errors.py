"""Errors whose message is all that a user needs: entry scripts print only the message, without a traceback."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["InputError", "NonFiniteLossError", "choice", "counted", "nearest", "nearest_path", "some_of", "told"]


class InputError(ValueError):
    """Bad input (an option, a file, a shape): what was found, what was expected, what to do."""

    def __init__(self, message: str = ""):
        # PyTorch's loaders raise a worker's error again, with the worker's traceback before the message.
        super().__init__(message.rpartition(f"{__name__}.InputError: ")[2].rstrip())


class NonFiniteLossError(RuntimeError):
    """Training reached a loss that is NaN or infinite."""


@contextmanager
def told(what: str, then: str = "") -> Iterator[None]:
    """Turn an exception from the user's own code into an InputError whose message gives ``what`` failed, the error, and
    what to do ``then``. An InputError is raised unchanged."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {error!r}.{then}") from error


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of a list of names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 image``, ``2 images``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def nearest(name: str, names: Iterable[str], most: int = 3) -> str:
    """Names that the user may have meant by an unknown one, for a message; empty if none is near."""
    known = {known.lower(): known for known in sorted(names)}
    found = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=most)]
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def choice(name: str, names: Collection[str]) -> str:
    """What to choose instead of an unknown name, for a message: the nearest names, or all of them if none is near."""
    return nearest(name, names) or f"; choose from {', '.join(names)}"


def nearest_path(path: str, paths: Iterable[str]) -> str:
    """Like :func:`nearest`, for dotted paths: paths whose parts are all near, or else paths whose last part is near."""
    paths = sorted(paths)
    heads = [""]
    for part in path.split("."):
        below = {
            head: {known[len(head) :].split(".")[0] for known in paths if known.startswith(head)} for head in heads
        }
        heads = [f"{head}{near}." for head, parts in below.items() for near in _near(part, parts)]
    found = _near(path, [head[:-1] for head in heads])
    if not found:
        ends = _near(path.rpartition(".")[2], {known.rpartition(".")[2] for known in paths})
        found = [known for end in ends for known in paths if known.endswith(f".{end}")]
    return f" (did you mean {' or '.join(found[:4])}?)" if found else ""


def _near(name: str, names: Iterable[str]) -> list[str]:
    return [name] if name in names else difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.7)
