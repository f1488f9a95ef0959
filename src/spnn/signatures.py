"""What a config's targets accept: the names of their arguments, and the kinds of value that these may have."""

import inspect
import os
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["KINDS", "MAPPING", "NUMBER", "WHOLE", "kinds", "parameters"]

WHOLE, NUMBER, MAPPING = "a whole number", "a number", "a mapping"
KINDS = {bool: "true or false", int: WHOLE, float: NUMBER, str: "text", list: "a list", dict: MAPPING}
"""The kinds of a config's values, in words."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(target: Callable) -> tuple[dict[str, inspect.Parameter], bool]:
    """The arguments that a target takes by name, and whether it takes any other names, too.

    The ``**options`` of this package's classes are the arguments of their base class; a class that passes ``**`` to
    something else names that in ``keywords_of``.

    Raises:
        TypeError: If the target can't be called.
    """
    calls = [target]
    if isinstance(target, type):
        own = [vars(base).get(name) for base in target.__mro__ for name in ("__init__", "keywords_of")]
        calls = [call for call in own if call is not None]
    found: dict[str, inspect.Parameter] = {}
    for call in calls:
        try:
            every = inspect.signature(call, eval_str=True).parameters
        except ValueError:  # a builtin without a signature
            return found, True
        except NameError:  # an annotation uses a name that only type checkers import
            every = inspect.signature(call).parameters
        named = {name: one for name, one in every.items() if one.kind in _NAMED and name != "self"}
        more = [name for name, one in every.items() if one.kind == one.VAR_KEYWORD]
        found = named | found
        if not more:
            return found, False
        handed_on = more == ["options"] or hasattr(target, "keywords_of")
        if not handed_on or not call.__module__.startswith("spnn."):
            break
    return found, True


def kinds(annotation: Any) -> set[str]:
    """The kinds of value, from :data:`KINDS`, that an annotation allows; empty if that is unclear.

    An object is made from a mapping with its ``_target_``, so a class allows a mapping.
    """
    if get_origin(annotation) in (Union, types.UnionType):
        every = [kinds(member) for member in get_args(annotation) if member is not types.NoneType]
        return set().union(*every) if all(every) else set()
    if get_origin(annotation) is Literal:
        return {KINDS[type(value)] for value in get_args(annotation)}
    kind = get_origin(annotation) or annotation
    if kind in KINDS:
        return {KINDS[kind]}
    if kind in (tuple, set, frozenset):
        return {"a list"}
    if not isinstance(kind, type) or issubclass(kind, Enum) or getattr(kind, "_is_protocol", False):
        return set()
    if issubclass(kind, os.PathLike):
        return {"text"}
    members = {name for plain, name in KINDS.items() if issubclass(plain, kind)}  # an int is a numbers.Number
    if len(members) == len(KINDS):
        return set()
    return {"a list"} if "a list" in members else members or {MAPPING}
