"""The small runs that come with the package, by name; they were trained on data that it generates or includes."""

from pathlib import Path

from omegaconf import DictConfig

__all__ = ["DEFAULT", "embedded_runs", "folder_of", "home", "with_default_run"]

DEFAULT = "faces"
_FOLDER = Path(__file__).parents[1] / "embedded"


def embedded_runs() -> list[str]:
    """The names of the package's runs."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/config.yaml"))


def folder_of(run: str | Path) -> Path:
    """A run's folder: the named one or, if it doesn't exist, the folder of the package's run of that name."""
    return _FOLDER / run if _is_embedded(run) else Path(run)


def home(run: str | Path | None) -> str:
    """The folder for results made with a run: its own, or one in ``outputs/`` for a run of the package or no run."""
    if run is None:
        return "outputs"
    return f"outputs/embedded/{run}" if _is_embedded(run) else str(run)


def with_default_run(config: DictConfig) -> DictConfig:
    """A command's config; if it names no run and the prior must come from one, the package's default run is set."""
    if config.run is None and "_target_" not in config.prior and config.prior.run is None:
        config.run = DEFAULT
    return config


def _is_embedded(run: str | Path) -> bool:
    return not Path(run).exists() and str(run) in embedded_runs()
