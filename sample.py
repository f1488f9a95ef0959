"""Sample images: `python sample.py run=<folder> [task=reconstruct|edit|generate|restore|...] [option=value ...]`."""

from omegaconf import DictConfig

from spnn.entry import entry_point, job_folder
from spnn.sampling import sample


@entry_point("sample")
def main(config: DictConfig) -> dict[str, float]:
    return sample(config, job_folder(config))


if __name__ == "__main__":
    main()
