"""Tracking stops nothing: what it fails in is said once, and the work goes on."""

import functools
import logging
from collections.abc import Callable
from typing import Any

__all__ = ["harmless", "say_once"]

log = logging.getLogger(__name__)


def harmless(function: Callable[..., None]) -> Callable[..., None]:
    """A function that shows something, which may fail: a full disk, a home that can't be written, a server that is
    gone."""

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
    """Say something once in a process."""
    log.log(level, "%s", message)
