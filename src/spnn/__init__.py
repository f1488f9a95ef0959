"""Pseudo-invertible neural networks and non-linear back-projection."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spnn.networks import SPNN
    from spnn.session import Session
    from spnn.surjection import Bijection, Completion, Composition, Surjection

__all__ = ["SPNN", "Bijection", "Completion", "Composition", "Session", "Surjection"]

_MODULES = {"SPNN": "spnn.networks", "Session": "spnn.session"}


def __getattr__(name: str) -> Any:
    if name in __all__:  # loaded when they are used: help and lists of runs do without PyTorch
        return getattr(importlib.import_module(_MODULES.get(name, "spnn.surjection")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
