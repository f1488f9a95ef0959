"""Sample images from a trained run: `python sample.py run=<folder> [task=reconstruct|edit] [option=value ...]`."""

from omegaconf import DictConfig

from spnn.entry import entry_point
from spnn.sampling import sample


@entry_point("sample")
def main(config: DictConfig) -> None:
    sample(config)


if __name__ == "__main__":
    main()
