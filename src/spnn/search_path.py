"""Where configs are found: first in the user's own folder, then in the package's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra

__all__ = ["CONFIGS", "config_folders", "find_all", "searching"]

_CHECKOUT = Path(__file__).parents[2] / "conf"
CONFIGS = _CHECKOUT if (_CHECKOUT / "train.yaml").exists() else Path(__file__).parent / "conf"
"""The package's own configs: the checkout's, or the installed ones."""


def config_folders() -> list[Path]:
    """The folders to search, in this order: ``conf/`` in the working directory, if it exists, then the package's."""
    folder = Path("conf").resolve()
    return [folder, CONFIGS] if folder.is_dir() and folder != CONFIGS else [CONFIGS]


def find_all(folders: Sequence[Path], pattern: str) -> list[Path]:
    """The files that match a pattern below the folders, sorted by name; if names are equal, the first folder's wins."""
    found = {path.relative_to(folder): path for folder in reversed(folders) for path in folder.glob(pattern)}
    return [found[name] for name in sorted(found)]


@contextmanager
def searching(folders: Sequence[Path]) -> Iterator[None]:
    """Let Hydra's ``compose`` find configs in some folders, in this order.

    ``hydra.searchpath`` can't do that: Hydra reads the script's own config before it looks there.
    """
    with initialize_config_dir(str(folders[0]), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for folder in folders[1:]:
            loader.get_search_path().prepend("package", f"file://{folder}", SearchPathQuery(provider="schema"))
        # Hydra's only class of loaders has this attribute, but its interface doesn't.
        loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]
        yield
