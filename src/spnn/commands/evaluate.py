"""Evaluate a trained run on held-out images."""

from omegaconf import DictConfig

from spnn.entry import entry_point
from spnn.evaluation import evaluate

__all__ = ["main"]


@entry_point("evaluate")
def main(config: DictConfig) -> None:
    evaluate(config)
