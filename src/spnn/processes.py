"""Which of several processes this is."""

from lightning.pytorch.utilities import rank_zero_only

__all__ = ["rank"]


def rank() -> int:
    """The number of this process among all processes of a command, as Lightning counts them; 0 is the first."""
    return rank_zero_only.rank  # type: ignore[attr-defined]  # an attribute of a function
