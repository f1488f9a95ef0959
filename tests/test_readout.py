"""Another kind of `y` than yes-or-no answers: it trains, samples, is edited, studied and reported."""

import html
import json

import numpy as np
import pytest
import torch
from commands import configuration

from spnn import Session
from spnn.data.arrays import ArrayDataset
from spnn.data.sources import Digits
from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.metrics import agreement
from spnn.readout import LOGITS, VALUES, Binary, Readout, Values
from spnn.runs import Run
from spnn.training import train


class Share(Values):
    """A share in (0, 1), whose output is its logarithm."""

    def decode(self, y):
        return y.exp()

    def encode(self, labels):
        return labels.log()


class Ink(Digits):
    """Digits, and how much of each image is ink."""

    label_names = ("ink",)
    readout = Share(label_names, tolerance=0.04)

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        for name, part in self.splits.items():
            ink = part.images.mean((1, 2, 3))[:, None] / 255
            self.splits[name] = ArrayDataset(part.images, ink.astype(np.float32))


@pytest.fixture(scope="module")
def ink(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("ink") / "run"
    short = [f"stage.{stage}.trainer.max_steps={n}" for stage, n in (("task", 200), ("inverse", 20), ("prior", 150))]
    words = ["experiment=digits", "data.source._target_=test_readout.Ink", "stage.task.module.adversary=null"]
    words += ["stage.task.module.reconstruction_weight=1"]
    train(configuration("train", *words, *short, "callbacks.pictures.images=4"), folder)
    return Run(folder)


@pytest.mark.slow
def test_a_value_trains_samples_and_is_edited(ink):
    logged = ink.all_metrics()
    assert logged["task"]["error"] == logged["task"]["error/ink"] and "accuracy" not in logged["task"]
    session = Session.load(ink.folder)
    images, y = session.held_out(8)
    share = (images.flatten(1).mean(1) + 1) / 2
    assert (y.exp()[:, 0] - share).abs().mean() < 0.05
    assert logged["task"]["error"] < 0.05
    less, more = (session.edit(images, {"ink": share}, seed=0) for share in (0.26, 0.37))
    for edited in (less, more):
        assert edited.metrics["edit_success"] > 0.8 and "balanced_agreement" not in edited.metrics
    assert more.images.mean() > less.images.mean()
    with pytest.raises(InputError, match="the value of ink must be a finite number, low or high, got 'yes'"):
        session.edit(images, {"ink": "yes"})


@pytest.mark.slow
def test_a_value_is_studied_and_reported(ink, tmp_path):
    where = (f"run={ink.folder}", f"folder={tmp_path}/e", f"report={tmp_path}/report.html", "trainer.precision=32-true")
    entries = evaluate(configuration("evaluate", *where, "count=24", "sampler.steps=20", "study.diversity_targets=2"))
    found = {entry["guidance"]: entry for entry in entries}
    assert found["nlbp_gentle"]["mae"] < found["none"]["mae"] / 2
    assert {"mean", "none"} < found.keys() and "balanced_agreement" not in found["mean"]
    evaluate(configuration("evaluate", *where, "count=4", "sampler.steps=10", "study=steps", "study.steps=[5,10]"))
    edits = evaluate(
        configuration("evaluate", *where, "count=12", "sampler.steps=20", "study=edit", "study.quantile=0.8")
    )
    assert edits[0]["edit_success"] > 0.7 and edits[0]["to_yes"] is not None and edits[0]["to_no"] is not None
    page = html.unescape((tmp_path / "report.html").read_text())
    assert "One value at a time is set to low and high" in page and "to high %" in page
    page = (tmp_path / "report.html").read_text()
    assert "mean's answer" in html.unescape(page)
    assert json.loads((tmp_path / "e/reconstruction/metrics.json").read_text())[0]["agreement"] > 0.5


@pytest.mark.parametrize("readout", [LOGITS, VALUES, Share(tolerance=0.1)])
def test_readouts_agree_with_themselves(readout: Readout):
    y = torch.randn(20, 3)
    assert readout.agrees(readout.decode(y), readout.decode(y)).all()
    assert (readout.gap(y, y) == 0).all() and (readout.gap(y, y + 1) > 0).all()
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(readout.energy(y, y.detach()), y)
    assert gradient.abs().max() < 1e-6  # the target is the least
    assert readout.energy(y.detach() + 0.1, y.detach()) > readout.energy(y, y.detach())


def test_values_are_read_and_worded():
    values = Values(("a", "b"))
    assert values.read("a", 3) == 3.0 and values.words({"a": 0.12345, "b": -2.0}) == "a 0.123, b -2"
    for wrong in (True, "yes", "90%", float("nan"), None):
        with pytest.raises(InputError, match="the value of a must be a finite number"):
            values.read("a", wrong)
    assert torch.equal(values.baseline(torch.tensor([[0.0, 2], [1, 4]])), torch.tensor([0.5, 3]))


def test_what_is_not_a_number_agrees_with_nothing():
    found = torch.tensor([[torch.nan, 0.9], [0.1, torch.nan]])
    assert agreement(found, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))["agreement"].tolist() == [0.5, 0.5]


def test_one_attribute_alone_is_scored():
    score = Binary(("bald",)).metric()
    score.update(torch.tensor([[0.9], [0.2], [0.7]]), torch.tensor([[1.0], [0.0], [0.0]]))
    assert score.compute().item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("names", ["ink", ("a", "a")])
def test_names_that_say_nothing_are_refused(names):
    with pytest.raises(InputError, match="a list without repeats"):
        Binary(names)
    with pytest.raises(InputError, match="tolerance must be a number of at least 0"):
        Values(("a",), tolerance=-1)
