"""Evaluate a trained run on held-out images: `python evaluate.py run=<folder> [option=value ...]`."""

from omegaconf import DictConfig

from spnn.entry import entry_point
from spnn.evaluation import evaluate


@entry_point("evaluate")
def main(config: DictConfig) -> None:
    evaluate(config)


if __name__ == "__main__":
    main()
