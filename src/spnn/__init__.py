"""Pseudo-invertible neural networks and non-linear back-projection."""

from typing import TYPE_CHECKING, Any

from spnn.networks import SPNN
from spnn.surjection import Bijection, Completion, Composition, Surjection

if TYPE_CHECKING:
    from spnn.session import Session

__all__ = ["SPNN", "Bijection", "Completion", "Composition", "Session", "Surjection"]


def __getattr__(name: str) -> Any:
    if name == "Session":  # brings Hydra and Lightning, which the networks do without
        from spnn.session import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
