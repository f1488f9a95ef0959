"""What a study looks at: a run's models, held-out images, and what each classifier sees in them."""

from functools import cached_property

import torch
from torch import Tensor, nn

from spnn.data import Source
from spnn.errors import InputError
from spnn.metrics import AttributeAgreement
from spnn.sampling.generate import outputs_of
from spnn.sampling.images import held_out
from spnn.sampling.models import Models

__all__ = ["Subject", "attribute_rates", "means"]


class Subject:
    """A run under study.

    Arguments:
        models: Its models; the operator must tell attributes.
        count: Held-out images, the first of the test split.
        resamples: Sets of images drawn for a confidence interval.

    Raises:
        InputError: If there is no run, the operator doesn't tell attributes, or there are fewer images.
    """

    def __init__(self, models: Models, count: int, resamples: int):
        if models.attributes is None or models.run is None:
            raise InputError("evaluate.py studies attributes: it needs run=<folder> and operator=trained.")
        self.models, self.run, self.resamples = models, models.run, resamples
        self.attributes = models.attributes
        self.names, self.images = held_out(self.source, 0, count)  # [N], [N, C, H, W] in [-1, 1]

    @property
    def source(self) -> Source:
        """Where the run's images come from."""
        return self.run.source

    @cached_property
    def labels(self) -> Tensor:
        """What the held-out images are said to have, [N, K] in {0, 1}."""
        test = self.source.split("test")
        return torch.stack([test[index]["attributes"] for index in range(len(self.images))])

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Prefix of a metric's name to the classifier that it is by: the guiding network, and the judge if there is."""
        judge = self.models.judge
        return {"": self.models.operator} | ({} if judge is None else {"judge_": judge})

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """What each classifier sees in images [N, C, H, W]: logits [N, K]."""
        return {prefix: outputs_of(network, images) for prefix, network in self.networks.items()}

    @cached_property
    def seen(self) -> dict[str, Tensor]:
        """What each classifier sees in the held-out images: logits [N, K]."""
        return self.logits(self.images)

    @property
    def y(self) -> Tensor:
        """The guiding network's outputs of the held-out images, [N, K]."""
        return self.seen[""]

    @property
    def most_trusted(self) -> str:
        """The prefix of the classifier to trust most: the judge's, if there is one."""
        return list(self.networks)[-1]

    @staticmethod
    def classifier(prefix: str) -> str:
        """What the classifier of a prefix is called."""
        return "judge" if prefix else "guiding network"

    @cached_property
    def majority(self) -> Tensor:
        """For each attribute, whether most training images have it, [K] in {0, 1}."""
        return (attribute_rates(self.source) > 0.5).float()

    def compare(self, probabilities: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compare what each classifier sees in samples, [N, K], with what it sees in the held-out images (by its own
        lights), and with their labels.

        Returns:
            ``<prefix>agreement``, ``<prefix>balanced_agreement``, ``<prefix>mae``, [K] each, against the classifier's
            own view, ``<prefix>label_agreement`` and so on against the labels; and ``<name>_interval`` of each, [2].
        """
        found = {}
        for prefix, probability in probabilities.items():
            for against, wanted in (("", self.seen[prefix].sigmoid()), ("label_", self.labels)):
                metric = AttributeAgreement(resamples=self.resamples)
                metric.update(probability, wanted)
                found |= {f"{prefix}{against}{name}": value for name, value in metric.compute().items()}
        return found


def means(values: dict[str, Tensor]) -> dict[str, float | list[float]]:
    """Means over attributes of what :meth:`Subject.compare` returns, and the intervals as they are."""
    return {key: v.tolist() if key.endswith("_interval") else v.mean().item() for key, v in values.items()}


def attribute_rates(source: Source) -> Tensor:
    """The share of training images that have each attribute, [K]."""
    return torch.from_numpy(source.split("train").attributes.mean(0)).float()
