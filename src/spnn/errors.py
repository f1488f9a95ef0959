"""The errors whose message is all that a user needs: entry scripts print it alone, without a traceback."""

__all__ = ["InputError", "NonFiniteLossError"]


class InputError(ValueError):
    """Bad input (an option, a file, a shape): what was found, what was expected, what to do."""


class NonFiniteLossError(RuntimeError):
    """Training reached a loss that is NaN or infinite."""
