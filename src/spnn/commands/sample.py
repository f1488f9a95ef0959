"""Sample images."""

from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder
from spnn.sampling import sample

__all__ = ["main"]


@entry_point("sample")
def main(config: DictConfig) -> dict[str, float]:
    return sample(config, job_folder(config))
