"""Tracking never stops the work: a failure is reported once, and the work continues."""

import functools
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["harmless", "say_once"]

log = logging.getLogger(__name__)


def harmless(function: Callable[..., None]) -> Callable[..., None]:
    """Wrap a function that shows something, so that its errors are only logged: a full disk, a home folder that can't
    be written to, a server that is gone."""

    @functools.wraps(function)
    def attempt(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except Exception as error:
            name = function.__qualname__.rpartition("<locals>.")[2]
            say_once(f"tracking fails in {name}: {type(error).__name__}: {error}", logging.WARNING)

    return attempt


@functools.cache
def say_once(message: str, level: int = logging.INFO) -> None:
    """Log a message only once in a process."""
    log.log(level, "%s", message)
