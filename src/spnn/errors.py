"""The error that a user can mend: its message says what was found, what was expected, and what to do."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input: an option, a file, a shape. Entry scripts print its message alone, without a traceback."""
