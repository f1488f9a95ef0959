"""Where configs are found: in one's own folder first, then in the package's."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["CONFIGS", "config_folders", "find_all"]

_CHECKOUT = Path(__file__).parents[2] / "conf"
CONFIGS = _CHECKOUT if (_CHECKOUT / "train.yaml").exists() else Path(__file__).parent / "conf"
"""The package's own configs: a checkout's, or those that were installed."""


def config_folders(own: str | Path | None = None) -> list[Path]:
    """The folders to search, the first before the second.

    Arguments:
        own: One's own folder; by default ``conf/`` in the working directory, if there is one.
    """
    folder = Path(own or "conf").resolve()
    return [folder, CONFIGS] if folder.is_dir() and folder != CONFIGS else [CONFIGS]


def find_all(folders: Sequence[Path], pattern: str) -> list[Path]:
    """The files that match a pattern below each folder, sorted by name; of two with one name, the first folder's."""
    found = {path.relative_to(folder): path for folder in reversed(folders) for path in folder.glob(pattern)}
    return [found[name] for name in sorted(found)]
