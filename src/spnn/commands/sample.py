"""Sample images."""

from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder
from spnn.runs.embedded import with_default_run

__all__ = ["main"]


@entry_point("sample")
def main(config: DictConfig) -> dict[str, float]:
    from spnn.sampling import sample  # here, because help doesn't need PyTorch

    config = with_default_run(config)
    return sample(config, job_folder(config))
