"""Train the stages of an experiment: `python train.py [experiment=...] [stages=[...]] [option=value ...]`."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder
from spnn.training import train


@entry_point("train")
def main(config: DictConfig) -> dict[str, float]:
    return train(config, job_folder(config), said=HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
