import math

import pytest
import torch

from spnn.metrics import attribute_metrics


def test_agreement_is_counted_by_hand():
    wanted = torch.tensor([[0.9, 0.2], [0.8, 0.4], [0.7, 0.1], [0.1, 0.3]])  # three have the first, none the second
    probability = torch.tensor([[0.6, 0.1], [0.4, 0.9], [0.9, 0.2], [0.2, 0.6]])
    metrics = attribute_metrics(probability, wanted)
    assert metrics["agreement"].tolist() == [3 / 4, 2 / 4]
    assert metrics["balanced_agreement"].tolist() == pytest.approx([(2 / 3 + 1) / 2, 2 / 4])
    assert metrics["mae"].tolist() == pytest.approx([(0.3 + 0.4 + 0.2 + 0.1) / 4, (0.1 + 0.5 + 0.1 + 0.3) / 4])


def test_always_answering_the_majority_has_balanced_agreement_one_half():
    wanted = torch.rand(50, 3)
    metrics = attribute_metrics(torch.zeros(50, 3), wanted)
    assert metrics["balanced_agreement"].tolist() == [0.5] * 3
    assert not any(math.isnan(value) for values in metrics.values() for value in values.tolist())
