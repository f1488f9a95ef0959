"""The runs that come with the package, by their names: small, and trained on data that it makes itself or carries."""

from pathlib import Path

from omegaconf import DictConfig

__all__ = ["DEFAULT", "embedded_runs", "folder_of", "home", "with_default_run"]

DEFAULT = "faces"
_FOLDER = Path(__file__).parents[1] / "embedded"


def embedded_runs() -> list[str]:
    """Their names."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/config.yaml"))


def folder_of(run: str | Path) -> Path:
    """A run's folder: that which is named or, where there is none, the package's run of that name."""
    return _FOLDER / run if _is_embedded(run) else Path(run)


def home(run: str | Path | None) -> str:
    """Where what is made with a run goes: into its folder, but into ``outputs/`` with a run of the package, or none."""
    if run is None:
        return "outputs"
    return f"outputs/embedded/{run}" if _is_embedded(run) else str(run)


def with_default_run(config: DictConfig) -> DictConfig:
    """The config of a command, with the package's run if it names none and the prior is to be a run's."""
    if config.run is None and "_target_" not in config.prior and config.prior.run is None:
        config.run = DEFAULT
    return config


def _is_embedded(run: str | Path) -> bool:
    return not Path(run).exists() and str(run) in embedded_runs()
