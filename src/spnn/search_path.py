"""Where configs are found: in one's own folder first, then in the package's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra

__all__ = ["CONFIGS", "config_folders", "find_all", "searching"]

_CHECKOUT = Path(__file__).parents[2] / "conf"
CONFIGS = _CHECKOUT if (_CHECKOUT / "train.yaml").exists() else Path(__file__).parent / "conf"
"""The package's own configs: a checkout's, or those that were installed."""


def config_folders() -> list[Path]:
    """The folders to search, the first before the second: ``conf/`` in the working directory, if there is one."""
    folder = Path("conf").resolve()
    return [folder, CONFIGS] if folder.is_dir() and folder != CONFIGS else [CONFIGS]


def find_all(folders: Sequence[Path], pattern: str) -> list[Path]:
    """The files that match a pattern below each folder, sorted by name; of two with one name, the first folder's."""
    found = {path.relative_to(folder): path for folder in reversed(folders) for path in folder.glob(pattern)}
    return [found[name] for name in sorted(found)]


@contextmanager
def searching(folders: Sequence[Path]) -> Iterator[None]:
    """Let Hydra's ``compose`` find configs in some folders, the first before the second.

    ``hydra.searchpath`` can't say that: Hydra reads the script's own config before it looks there.
    """
    with initialize_config_dir(str(folders[0]), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        for folder in folders[1:]:
            loader.get_search_path().prepend("package", f"file://{folder}", SearchPathQuery(provider="schema"))
        # Of the only class of loaders that Hydra has, if not of its interface.
        loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]
        yield
