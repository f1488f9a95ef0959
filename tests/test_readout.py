"""Another kind of `y` than yes-or-no answers: it trains, samples, is edited, studied and reported."""

import html
import json

import numpy as np
import pytest
import torch
from commands import configuration
from PIL import Image
from torchmetrics import MeanAbsoluteError

from spnn import SPNN, Session
from spnn.data.arrays import ArrayDataset
from spnn.data.sources import Digits, Source, check_split
from spnn.errors import InputError
from spnn.evaluation import evaluate
from spnn.metrics import agreement
from spnn.readout import Binary, Classes, ClassMap, Mixed, Readout, Values, checked
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

    def __init__(self, seed: int = 0, labels: str = "ink"):
        super().__init__(seed, labels)
        self.label_names, self.readout = ("ink",), Share(("ink",), tolerance=0.04)
        for name, part in self.splits.items():
            self.splits[name] = ArrayDataset(part.images, (part.labels / 100).astype(np.float32))


@pytest.fixture(scope="module")
def ink(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("ink") / "run"
    steps = {"task": 200, "inverse": 20, "prior": 150, "judge": 100}
    short = [f"stage.{stage}.trainer.max_steps={n}" for stage, n in steps.items()]
    words = ["experiment=digits", "data.labels=ink", "data.source._target_=test_readout.Ink"]
    words += ["stage.task.module.adversary=null", "stage.task.module.reconstruction_weight=1"]
    train(configuration("train", *words, *short, "callbacks.pictures.images=4"), folder)
    return Run(folder)


@pytest.mark.nightly
def test_a_value_trains_samples_and_is_edited(ink):
    logged = ink.all_metrics()
    assert logged["task"]["error"] == logged["task"]["error/ink"] and "accuracy" not in logged["task"]
    session = Session.load(ink.folder)
    images, y = session.held_out(8)
    share = (images.flatten(1).mean(1) + 1) / 2
    assert (y.exp()[:, 0] - share).abs().mean() < 0.05
    assert logged["task"]["error"] < 0.05
    gentle = {"seed": 0, "guidance": "nlbp_gentle"}  # bounded moves don't get far against a prior of 150 steps
    less, more = (session.edit(images, {"ink": share}, **gentle) for share in (0.26, 0.37))
    for edited in (less, more):
        assert edited.metrics["edit_success"] > 0.8 and "balanced_agreement" not in edited.metrics
    assert more.images.mean() > less.images.mean()
    with pytest.raises(InputError, match="the value of ink must be a finite number, low or high, got 'yes'"):
        session.edit(images, {"ink": "yes"})


@pytest.mark.nightly
def test_a_value_is_studied_and_reported(ink, tmp_path):
    where = (f"run={ink.folder}", f"folder={tmp_path}/e", f"report={tmp_path}/report.html", "trainer.precision=32-true")
    entries = evaluate(configuration("evaluate", *where, "count=24", "sampler.steps=20", "study.diversity_targets=2"))
    found = {entry["guidance"]: entry for entry in entries}
    assert found["nlbp_gentle"]["mae"] < found["none"]["mae"] / 2
    assert {"mean", "none"} < found.keys() and "balanced_agreement" not in found["mean"]
    evaluate(configuration("evaluate", *where, "count=4", "sampler.steps=10", "study=steps", "study.steps=[5,10]"))
    edits = evaluate(
        configuration(
            *("evaluate", *where, "count=12", "sampler.steps=20", "study=edit", "study.quantile=0.8"),
            *("~methods.nlbp_bounded", "+guidance@methods.nlbp_gentle=nlbp_gentle"),
        )
    )
    assert edits[0]["edit_success"] > 0.7 and edits[0]["to_yes"] is not None and edits[0]["to_no"] is not None
    page = html.unescape((tmp_path / "report.html").read_text())
    assert "One value at a time is set to low and high" in page and "to high %" in page
    page = (tmp_path / "report.html").read_text()
    assert "mean's answer" in html.unescape(page)
    assert json.loads((tmp_path / "e/reconstruction/metrics.json").read_text())[0]["agreement"] > 0.5


ABC = ("a", "b", "c")
RANGES = {"yaw": (-30, 30), "size": (0, 4)}
CLASSES = Classes(("cat", "dog", "eel"))
NUMBERS = Values(("yaw", "size"), ranges=RANGES, units={"yaw": "deg"})
MAP = ClassMap(("sky", "hair", "eye"), 2, 3)
MIXED = Mixed([CLASSES, NUMBERS, Binary(("hat",))])


@pytest.mark.parametrize(
    "readout", [Binary(ABC), Values(ABC), Share(ABC), CLASSES, NUMBERS, MAP, MIXED], ids=lambda of: type(of).__name__
)
def test_readouts_agree_with_themselves(readout: Readout):
    checked(readout, readout.names)
    y = torch.randn(20, len(readout.names))
    decoded = readout.decode(y)
    assert readout.agrees(decoded, decoded).all() and not readout.differs(decoded, decoded).any()
    assert (readout.gap(y, y) == 0).all()
    assert (readout.gap(y, y + torch.randn(len(readout.names)).sort().values) > 0).any()
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(readout.energy(y, y.detach()), y)
    assert gradient.abs().max() < 1e-6  # the target is the least
    other = y.detach() + torch.randn_like(y)
    assert readout.energy(other, y.detach()) > readout.energy(y, y.detach())
    assert readout.listed(torch.ones(len(readout.names), dtype=torch.bool))


def test_numbers_are_read_and_worded_in_their_unit():
    assert NUMBERS.settings({"yaw": "15 deg", "size": 2}) == {0: 0.5, 1: 0.0}
    assert NUMBERS.settings({"yaw": "-30deg", "size": "high"}) == {0: -1.0, 1: True}
    assert NUMBERS.words(torch.tensor([0.5, torch.nan])) == "yaw 15 deg"
    assert NUMBERS.text(0, -0.1) == "-3 deg" and NUMBERS.text(1, False) == "low"
    assert NUMBERS.error(torch.tensor([3.0, 1.0]), torch.tensor([0.0, 0.0])).tolist() == pytest.approx([0.05, 0.25])
    with pytest.raises(InputError, match="got '15 px'; its unit is deg"):
        NUMBERS.read("yaw", "15 px")
    for wrong in (True, "yes", "90%", "15 px", float("nan"), None):
        with pytest.raises(InputError, match="the value of yaw must be a finite number, low or high"):
            NUMBERS.read("yaw", wrong)
    assert torch.equal(NUMBERS.baseline(torch.tensor([[0.0, 2], [1, 4]])), torch.tensor([0.5, 3]))
    with pytest.raises(InputError, match="ranges must give each of"):
        Values(("a", "b"), ranges={"a": (0, 1)})
    with pytest.raises(InputError, match="the same in all images says nothing"):
        Values(("a",), ranges={"a": (1, 1)})


def test_a_class_is_set_by_its_group_and_is_then_the_likeliest():
    assert CLASSES.settings({"class": "dog"}) == CLASSES.settings({"dog": True}) == {1: True}
    y, which = CLASSES.settled(torch.tensor([[9.0, 1, 3]]), [1]), CLASSES.together(1)
    assert which == [0, 1, 2] and y.argmax() == 1 and y.softmax(1)[0, 1] > 0.7
    for values, message in (
        ({"class": "dgo"}, "there is no class 'dgo' .did you mean dog"),
        ({"dog": "no"}, "set the class that it is"),
        ({"cat": True, "class": "dog"}, "an image has one class, but cat and dog are set"),
        ({"hat": True}, "there is no class 'hat' .did you mean cat"),
    ):
        with pytest.raises(InputError, match=message):
            CLASSES.settings(values)
    found, wanted = torch.tensor([[0.8, 0.1, 0.1]]), torch.tensor([[0.0, 1, 0]])
    assert not CLASSES.agrees(found, wanted).any()
    assert CLASSES.differs(found, wanted).tolist() == [[True, True, False]]
    assert CLASSES.error(found, wanted)[0].tolist() == pytest.approx([0.9] * 3)
    assert CLASSES.met(found, {0: True}).all() and not CLASSES.met(found, {2: True}).any()
    assert CLASSES.words(found[0]) == "cat" and CLASSES.chosen(found[0], torch.ones(3) > 0) == {"class": "cat"}


def test_classes_are_balanced_by_their_recall():
    wanted = torch.eye(3)[[0, 0, 0, 1]]
    found = torch.eye(3)[[0, 0, 1, 0]]
    metrics = agreement(found, wanted, readout=CLASSES)
    assert metrics["agreement"].tolist() == [0.5] * 3
    balanced = metrics["balanced_agreement"]
    assert balanced[:2].tolist() == pytest.approx([2 / 3, 0]) and balanced[2].isnan()
    score = CLASSES.metric()
    score.update(found, wanted)
    assert score.compute()[:2].tolist() == pytest.approx([2 / 3, 0])


def test_a_map_is_set_by_cells_or_painted_as_a_whole(tmp_path):
    assert MAP.names[:4] == ("sky[0,0]", "sky[0,1]", "sky[0,2]", "sky[1,0]")
    assert MAP.settings({"[1,2]": "hair", "eye[0,0]": "yes"}) == {11: True, 12: True}
    painted = np.kron([[0, 1, 2], [2, 1, 0]], np.ones((4, 4), int)).astype(np.uint8)
    painted[0, 0] = 1  # a slip within a cell
    Image.fromarray(painted).save(tmp_path / "map.png")
    read = MAP.settings({"map": str(tmp_path / "map.png")})
    assert [MAP.names[k] for k in read] == ["sky[0,0]", "hair[0,1]", "eye[0,2]", "eye[1,0]", "hair[1,1]", "sky[1,2]"]
    y = MAP.settled(torch.randn(5, 18), list(read))
    decoded = MAP.decode(y)
    assert MAP.met(decoded, read).all() and MAP.words(y[0]) == "sky 2, hair 2, eye 2"
    assert MAP.chosen(y[0], torch.ones(18) > 0)["[0,2]"] == "eye" and MAP.listed(torch.arange(18) == 17) == ["[1,2]"]
    assert MAP.together(11) == [5, 11, 17]
    assert MAP.places("[1,2]") == [5, 11, 17] and MAP.places("map") == list(range(18))
    assert MAP.places("hair") == list(MAP.settings({"hair": "[:,:]"})) == list(range(6, 12))
    assert list(MAP.settings({"hair": "[0:2,1:]", "[:,0]": "eye"})) == [7, 8, 10, 11, 12, 15]
    score = MAP.metric()
    score.update(decoded, MAP.has(decoded).float())
    assert MAP.by_score(score.compute()) == {"iou": {"sky": 1, "hair": 1, "eye": 1}}
    Image.fromarray(painted[:, :5]).save(tmp_path / "narrow.png")
    Image.fromarray(painted + 7).save(tmp_path / "numbers.png")
    for values, message in (
        ({"map": str(tmp_path / "narrow.png")}, r"must have one channel and 2x3 pixels, .* \(8, 5\)"),
        ({"map": str(tmp_path / "numbers.png")}, "has the number 9; the classes are 0 sky, 1 hair, 2 eye"),
        ({"map": str(tmp_path / "none.png")}, "is no image"),
        ({"[0,0]": "tree"}, "there is no class 'tree'"),
        ({"[0,0]": "hair", "sky[0,0]": True}, "a cell has one class"),
        ({"hair[0,0]": "no"}, "set what the cell is"),
        ({"hair[5,5]": True}, "there is no region"),
        ({"hair": "yes"}, "'yes' is no part of a map: give rows and columns"),
        ({"hair": "[0,1:9]"}, "the map has no columns 1:9: they are 0 to 2"),
        ({"[2,0]": "hair"}, "the map has no rows 2: they are 0 to 1"),
        ({"hair": "[1:1,0]"}, "the map has no rows 1:1"),
        ({"hair": "[0,:]", "[:,1]": "eye"}, r"a cell has one class, but hair\[0,1\], eye\[0,1\] are set"),
    ):
        with pytest.raises(InputError, match=message):
            MAP.settings(values)


def test_a_map_is_shown_in_colours():
    labels = torch.from_numpy(MAP.labels_of(np.array([[[0, 1, 2], [2, 1, 3]]]))).float()  # the last is no class
    assert torch.equal(MAP.mirror(labels), torch.from_numpy(MAP.labels_of(np.array([[[2, 1, 0], [3, 1, 2]]]))).float())
    labels[:, 5::6] = torch.nan
    for readout, y in ((MAP, labels), (Mixed([NUMBERS, MAP]), torch.cat([torch.zeros(1, 2), labels], 1))):
        picture = (readout.picture(y)[0] + 1) / 2
        assert picture.shape == (3, 2, 3) and (picture[:, 1, 2] == 0).all()
        for cell, name in (((0, 0), "sky"), ((0, 1), "hair"), ((0, 2), "eye"), ((1, 0), "eye")):
            assert picture[:, *cell].tolist() == pytest.approx(readout.legend[name])
    assert NUMBERS.picture(torch.zeros(1, 2)) is None and NUMBERS.legend == {}


@pytest.mark.parametrize("readout", [CLASSES, NUMBERS, MAP, MIXED], ids=lambda of: type(of).__name__)
def test_back_projection_gives_each_kind_what_it_is_set_to(readout):
    torch.manual_seed(0)
    plan = [{"unshuffle": 4, "channels": 30}, {"unshuffle": 2}]
    net = SPNN((3, 8, 8), plan, outputs=len(readout.names), hidden=16).requires_grad_(False)
    x, y = torch.randn(20, 3, 8, 8), torch.randn(20, len(readout.names))
    settings = {0: True} if readout.part(0).grouped else {0: 0.3}
    y[:, 0] = 0.3
    y = readout.settled(y, [0])
    found = net(net.back_project(x, y))
    torch.testing.assert_close(found, y, rtol=0, atol=1e-4)
    assert readout.met(readout.decode(found), settings).all()


def test_mixed_readouts_pass_each_label_to_its_own_kind():
    read = MIXED.settings({"hat": "yes", "class": "eel", "yaw": "3 deg"})
    assert read == {5: True, 2: True, 3: pytest.approx(0.1)}
    assert MIXED.places("class") == [0, 1, 2] and MIXED.places("size") == [4]
    assert MIXED.together(2) == [0, 1, 2] and MIXED.together(4) == [4] and MIXED.part(5).poles == ("no", "yes")
    y = MIXED.settled(torch.tensor([[5.0, 1, 2, 0.1, 0.0, -1.0]]), list(read))
    assert y[0, :3].argmax() == 2 and y[0, 3:].tolist() == pytest.approx([0.1, 0.0, -1.0])
    assert MIXED.words(y[0]) == "eel, yaw 3 deg, size 2"
    decoded = MIXED.decode(y)
    assert MIXED.met(decoded, read).tolist() == [[True, True, False]]
    score = MIXED.metric()
    score.update(decoded, torch.tensor([[0.0, 0, 1, 0, 2, 1]]))
    assert score.compute().tolist() == pytest.approx([0, 0, 1, 0.05, 0, 0])
    assert agreement(decoded, decoded, readout=MIXED)["balanced_agreement"].nanmean() == 1
    with pytest.raises(InputError, match=r"there is no label 'hta' .did you mean hat"):
        MIXED.settings({"hta": True})
    both = Mixed([NUMBERS, MAP])
    assert both.settings({"[:,1:]": "sky"}) == dict.fromkeys((3, 4, 6, 7), True)
    assert both.settings({"[0,1]": "hair", "size": 4}) == {1: 1.0, 9: True}
    with pytest.raises(InputError, match="need different names"):
        Mixed([Classes(("a", "b")), Values(("class",))])
    with pytest.raises(InputError, match="a list without repeats"):
        Mixed([Binary(("a",)), Values(("a",))])


class Bad(Values):
    """Each test puts a fault into it."""


@pytest.mark.parametrize(
    ("method", "fault", "message"),
    [
        (
            "loss",
            lambda self, y, labels: (y - labels).square().mean(),
            r"Bad\.loss must give a tensor of shape \(2, 1\)",
        ),
        ("agrees", lambda self, found, wanted: found - wanted, r"Bad\.agrees must give a mask"),
        ("decode", lambda self, y: y.exp(), r"Bad\.encode must undo Bad\.decode: override both"),
        ("energy", lambda self, y, target: (y - target).square(), r"Bad\.energy must give a tensor of shape \(\)"),
        ("metric", lambda self: MeanAbsoluteError(num_outputs=3), r"Bad\.metric"),
        ("error", lambda self, found, wanted: 1 / 0, r"Bad\.error fails on tensors of shape \(2, 1\): ZeroDivision"),
    ],
)
def test_a_readout_of_ones_own_is_tried_before_anything_is_trained(method, fault, message, monkeypatch):
    checked(Bad(("a",)), ["a"])
    monkeypatch.setattr(Bad, method, fault)
    with pytest.raises(InputError, match=message):
        checked(Bad(("a",)), ["a"])
    with pytest.raises(InputError, match="the labels' names"):
        checked(Bad(("a",)), ["b"])


@pytest.mark.parametrize(
    ("labels", "images", "message"),
    [
        (np.full((6, 1), 30.0), None, "the label a of image 0 is 30, but yes-or-no labels are 0 or 1"),
        (np.full((6, 1), np.nan), None, "the label a of image 0 is nan: give a number"),
        (np.zeros(6), None, r"has labels of shape \(6,\), expected a row for each of its 6 images"),
        (np.zeros((6, 1)), np.zeros((6, 4, 4, 1), np.float32), r"is torch.float32 \[1, 4, 4\], expected torch.uint8"),
        (np.zeros((0, 1)), None, "has no images"),
        (np.zeros((6, 1)), np.zeros((5, 4, 4, 1), np.uint8), "can't be had|5 images, but labels of 6"),
    ],
)
def test_a_source_of_ones_own_is_looked_at_before_it_is_trained(labels, images, message):
    class Mine(Source):
        label_names, image_shape = ("a",), (1, 4, 4)

        def split(self, name):
            return ArrayDataset(np.zeros((len(labels), 4, 4, 1), np.uint8) if images is None else images, labels)

    with pytest.raises(InputError, match=message):
        check_split(Mine(), "train")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda name: None, "must be a data set with `labels`, .* got NoneType"),
        (lambda name: (np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 1))), "must be a data set .* got tuple"),
        (lambda name: {}["valid"], r"the split 'val' of Mine can't be had: KeyError\('valid'\)"),
    ],
)
def test_a_split_that_is_none_is_told(made, message):
    class Mine(Source):
        label_names, image_shape = ("a",), (1, 4, 4)

        def split(self, name):
            return made(name)

    with pytest.raises(InputError, match=message):
        check_split(Mine(), "val")


@pytest.mark.nightly
@pytest.mark.parametrize("labels", ["mixed", "classes"])
def test_digits_of_another_kind_train_and_are_set(labels, tmp_path):
    steps = {"task": 120, "inverse": 10, "prior": 60, "judge": 80}
    short = [f"stage.{stage}.trainer.max_steps={n}" for stage, n in steps.items()]
    words = ["experiment=digits", f"data.labels={labels}", "callbacks.pictures.images=2"]
    train(configuration("train", *words, *short), tmp_path / "run")
    logged = Run(tmp_path / "run").all_metrics()["judge"]
    assert logged["accuracy"] > 0.7 and ("error" in logged) == (labels == "mixed")
    session = Session.load(tmp_path / "run")
    images, _ = session.held_out(6)
    drawn = session.edit(images, {"digit": 3}, start="noise", steps=20, guidance="nlbp")
    assert drawn.metrics["edit_success"] == 1 and drawn.models.readout.words(drawn.outputs[0])[0] == "3"
    if labels == "mixed":
        more = session.edit(
            images, {"ink": "36 %"}, start="noise", steps=20, guidance="nlbp", values={"guidance.exact": True}
        )
        assert (more.models.readout.shown(more.outputs)[:, -1] - 36).abs().max() < 1e-3
    found = session.evaluate("edit", count=20, values={"sampler.steps": 10, "study.each": 1})
    assert (found["edit_success"] > 0.3 and found["to_no"] is None) or labels == "mixed"


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
