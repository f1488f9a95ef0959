"""Sample images: `python sample.py run=<folder> [task=reconstruct|edit|generate|restore|...] [option=value ...]`."""

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from spnn.entry import entry_point
from spnn.sampling import sample


@entry_point("sample")
def main(config: DictConfig) -> dict[str, float]:
    hydra = HydraConfig.get()
    return sample(config, folder=hydra.runtime.output_dir if hydra.mode == RunMode.MULTIRUN else config.folder)


if __name__ == "__main__":
    main()
