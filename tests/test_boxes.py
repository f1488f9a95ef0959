"""Boxes as a kind of `y`: maps of centres, sizes and offsets; scenes and Pascal VOC's layout, which have them."""

import json

import numpy as np
import pytest
import torch
import yaml
from commands import REPOSITORY, configuration, fail, succeed
from PIL import Image

from spnn import SPNN
from spnn.data import VOC, Scenes
from spnn.data.layouts import write_scenes
from spnn.data.scenes import SHAPES, make_scene
from spnn.data.sources import check_split
from spnn.errors import InputError
from spnn.evaluation.judge import MapCNN
from spnn.metrics import agreement
from spnn.readout import Boxes, Mixed, Values, checked
from spnn.runs import Run

BOXES = Boxes(("dog", "cat"), 6, 8)
EDGES = torch.tensor([[0.1, 0.1, 0.44, 0.6], [0.5, 0.4, 0.9, 0.9]])
LABELS = BOXES.labels_of(EDGES, [1, 0])


def test_boxes_are_found_again_in_their_labels():
    checked(BOXES, BOXES.names)
    assert len(BOXES.names) == 6 * 48 and BOXES.names[48] == "cat[0,0]" and BOXES.names[-1] == "offset_y[5,7]"
    BOXES.check(LABELS[None])
    torch.testing.assert_close(BOXES.decode(BOXES.encode(LABELS)), LABELS)
    for found in (BOXES.boxes(LABELS[None]), BOXES.boxes(BOXES.decode(BOXES.encode(LABELS).clamp(-9, 9))[None], 0.9)):
        torch.testing.assert_close(found[0]["boxes"], EDGES.flip(0) if found[0]["labels"][0] == 0 else EDGES)
        assert sorted(found[0]["labels"].tolist()) == [0, 1]
    assert BOXES.words(BOXES.encode(LABELS)) == "dog 0.70 0.65 0.40 0.50, cat 0.27 0.35 0.34 0.50"
    assert BOXES.listed(LABELS == 1) == ["[2,2]", "[3,5]"]
    both = BOXES.labels_of(torch.cat([EDGES[:1], EDGES[:1].lerp(EDGES[:1].mean(), 0.01)]), [0, 1])
    assert BOXES.words(BOXES.encode(both)) == "dog 0.27 0.35 0.34 0.50"  # of two in one cell, the largest


def test_boxes_are_drawn_in_the_colours_of_their_classes():
    drawn = BOXES.picture(torch.stack([BOXES.encode(LABELS), BOXES.encode(BOXES.baseline(LABELS[None]))]))
    assert drawn.shape == (2, 3, 48, 64) and (drawn[1] == -1).all()
    pixels = EDGES * torch.tensor([64, 48, 64, 48])
    for colour, (left, upper, right, lower) in zip(reversed(BOXES.legend.values()), pixels.tolist(), strict=True):
        column = int((left + right) / 2)
        edge = drawn[0, :, int(upper) - 1 : int(upper) + 2, column]
        assert ((edge - torch.tensor(colour)[:, None] * 2 + 1).abs() < 0.01).all(0).any()
        assert (drawn[0, :, int(upper + lower) // 2, column] == -1).all()


def test_mirrored_labels_are_those_of_the_mirrored_picture():
    mirrored = BOXES.labels_of(torch.stack([1 - EDGES[:, 2], EDGES[:, 1], 1 - EDGES[:, 0], EDGES[:, 3]], 1), [1, 0])
    torch.testing.assert_close(BOXES.mirrored(LABELS), mirrored)
    torch.testing.assert_close(BOXES.mirrored(BOXES.mirrored(LABELS)), LABELS)


def test_right_boxes_have_a_precision_of_one_and_none_has_zero():
    labels = torch.stack([LABELS, BOXES.mirrored(LABELS)])
    for found, score in ((labels, 1), (BOXES.baseline(labels).expand(2, -1), 0)):
        metric = BOXES.metric()
        metric.update(found, labels)
        assert BOXES.by_score(metric.compute()) == {kind: {"dog": score, "cat": score} for kind in ("map_50", "map")}
    metric = BOXES.metric()
    metric.update(labels, labels * (torch.arange(len(BOXES.names)) >= 48))  # no picture has a dog
    assert BOXES.by_score(metric.compute())["map"] == {"cat": 1}
    metric.reset()
    shifted = BOXES.labels_of(EDGES + torch.tensor([0.03, 0, 0.03, 0]), [1, 0])  # overlaps of 0.84 and 0.86
    metric.update(shifted[None], LABELS[None])
    assert BOXES.by_score(metric.compute())["map"] == {"cat": pytest.approx(0.7), "dog": pytest.approx(0.8)}


def test_size_and_offset_say_nothing_where_there_is_no_object():
    other = LABELS + torch.where(BOXES.maps(LABELS)[:2].amax(0).flatten().repeat(6) == 0, 0.4, 0.0)
    assert BOXES.agrees(other, LABELS)[96:].all() and (BOXES.error(other, LABELS)[96:] == 0).all()
    assert not BOXES.agrees(LABELS + 0.6, LABELS)[96:].all()
    found = agreement(LABELS[None], LABELS[None], readout=BOXES)
    assert found["agreement"].mean() == 1 and found["balanced_agreement"].nanmean() == 1
    y = BOXES.encode(LABELS).clamp(-4, 4)[None]
    empty = y.clone()
    empty[:, :96] = -4.0
    assert BOXES.gap(empty, y).mean() > 0.5 and BOXES.gap(y, y).abs().max() == 0  # though 286 of 288 are right


def test_the_loss_is_the_focal_one_with_gaussians_round_centres():
    torch.manual_seed(0)
    y = torch.randn(3, len(BOXES.names), requires_grad=True)
    labels = torch.stack([LABELS, BOXES.mirrored(LABELS), torch.zeros_like(LABELS)])
    losses = BOXES.loss(y, labels)
    assert losses.shape == y.shape and (losses >= 0).all() and losses.isfinite().all()
    p, count = y[0].sigmoid(), 4 / 3  # objects in a picture
    place = BOXES.place("cat[2,2]")
    assert losses[0, place].item() == pytest.approx((-((1 - p[place]) ** 2) * p[place].log() / count).item(), rel=1e-4)
    beside = BOXES.place("cat[2,3]")
    width, height = 0.34 * 8, 0.5 * 6
    r = torch.linspace(0, 1, 100001, dtype=torch.double)  # the radius is where the moved box overlaps by 0.7
    shared = (width - r) * (height - r)
    radius = r[(shared / (2 * width * height - shared) - 0.7).abs().argmin()].item()
    splat = np.exp(-1 / (2 * ((2 * radius + 1) / 6) ** 2))
    expected = -((1 - splat) ** 4) * p[beside] ** 2 * (1 - p[beside]).log() / count
    assert losses[0, beside].item() == pytest.approx(expected.item(), rel=1e-3)
    size = (BOXES.decode(y)[0, BOXES.place("width[2,2]")] - 0.34).abs() * 12.8 / count
    assert losses[0, BOXES.place("width[2,2]")].item() == pytest.approx(size.item(), rel=1e-4)
    assert (losses[2, 96:] == 0).all() and losses[0, BOXES.place("width[0,0]")] == 0
    right = BOXES.encode(labels).clamp(-12, 12)
    assert BOXES.loss(right, labels).sum() < 1e-3


def test_objects_are_added_moved_and_removed():
    y = BOXES.encode(LABELS).clamp(-5, 3)[None]
    for values, words in (
        ({"add": "dog 0.9 0.1 0.2 0.1"}, "dog 0.70 0.65 0.40 0.50, cat 0.27 0.35 0.34 0.50, dog 0.90 0.10 0.20 0.10"),
        ({"remove": "0.25 0.35"}, "dog 0.70 0.65 0.40 0.50"),
        ({"remove": "0.4 0.35"}, "dog 0.70 0.65 0.40 0.50"),  # the cell beside that of the centre
        ({"remove": "0.25 0.35", "add": "cat 0.4 0.35 0.3 0.5"}, "dog 0.70 0.65 0.40 0.50, cat 0.40 0.35 0.30 0.50"),
        ({"add": "dog 0.25 0.35 0.3 0.5"}, "dog 0.70 0.65 0.40 0.50, dog 0.25 0.35 0.30 0.50"),
        ({"remove": "0.25 0.35 and 0.7 0.65"}, ""),
    ):
        settings = BOXES.settings(values)
        wanted = y.clone()
        wanted[:, list(settings)] = torch.tensor(list(settings.values()))
        wanted = BOXES.settled(wanted, list(settings))
        assert BOXES.words(wanted[0]) == words and BOXES.met(BOXES.decode(wanted), settings).all()
        which = torch.zeros(len(BOXES.names), dtype=torch.bool)
        which[list(settings)] = True
        again = BOXES.settings(BOXES.chosen(wanted[0], which))
        assert again.keys() == settings.keys()
        assert not BOXES.met(BOXES.decode(-wanted), settings).all()
    assert BOXES.settings({"dog[0,1]": 2, "width[0,1]": 0.5}) == {1: 2.0, 97: 0.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"add": "dgo 0.5 0.5 0.2 0.2"}, "there is no class 'dgo' .did you mean dog"),
        ({"add": "dog 0.5 0.5"}, "add: <class> <x> <y> <width> <height>, shares .* got 'dog 0.5 0.5'"),
        ({"add": "dog 0.5 0.5 20 20"}, "shares of the picture from 0 to 1"),
        ({"add": "dog 0.5 0.5 0 0.2"}, "a width and a height above 0, got 0 and 0.2"),
        ({"add": "dog 0.5 0.5 0.2 0.2 and cat 0.51 0.51 0.2 0.2"}, r"several are added to \[3,4\]"),
        ({"remove": "dog"}, "remove: <x> <y>, .* got 'dog'"),
        ({"moves": "0.5 0.5"}, "there is no 'moves': add and remove set boxes"),
    ],
)
def test_objects_that_cannot_be_set_are_told(values, message):
    with pytest.raises(InputError, match=message):
        BOXES.settings(values)


def test_what_can_be_no_boxes_is_told(monkeypatch):
    for change in (lambda maps: maps[:2].mul_(0.5), lambda maps: maps[2].zero_(), lambda maps: maps[-1].add_(2)):
        labels = LABELS.clone()
        change(BOXES.maps(labels))
        with pytest.raises(InputError, match="labels of boxes are 1 at centres"):
            BOXES.check(labels[None])
    for classes, grid in ((), 4), (("dog",), 0), ("dog", 4):
        with pytest.raises(InputError, match="boxes need a list of classes and a grid"):
            Boxes(classes, grid, grid)
    monkeypatch.setattr("torchmetrics.detection.mean_ap._PYCOCOTOOLS_AVAILABLE", False)
    monkeypatch.setattr("torchmetrics.detection.mean_ap._FASTER_COCO_EVAL_AVAILABLE", False)
    with pytest.raises(InputError, match=r"needs pycocotools: pip install 'spnn\[detection\]'"):
        BOXES.metric()


def test_back_projection_gives_the_boxes_that_are_set():
    readout = Boxes(SHAPES, 8, 8)
    plan = yaml.safe_load((REPOSITORY / "conf/network/boxes_32.yaml").read_text())
    del plan["_target_"]
    net = SPNN((3, 32, 32), outputs=len(readout.names), **plan).requires_grad_(False)
    x, settings = torch.rand(4, 3, 32, 32) * 2 - 1, readout.settings({"add": "triangle 0.5 0.5 0.3 0.4"})
    y = net(x)
    y[:, list(settings)] = torch.tensor(list(settings.values()))
    y = readout.settled(y, list(settings))
    found = net(net.back_project(x, y))
    torch.testing.assert_close(found, y, rtol=0, atol=1e-4)
    assert readout.met(readout.decode(found), settings).all() and "triangle 0.50 0.50 0.30 0.40" in readout.words(
        found[0]
    )
    assert MapCNN((3, 32, 32), len(readout.names), grid=8, width=8)(x).shape == y.shape
    with pytest.raises(InputError, match=r"448 outputs of \(3, 32, 32\) don't fit judge.grid=6"):
        MapCNN((3, 32, 32), len(readout.names), grid=6, width=8)


def test_scenes_have_the_boxes_that_were_rendered(tmp_path):
    source = Scenes(size=32, train=6, val=2, test=3, seed=1, cache=tmp_path, grid=8)
    for name in ("train", "val", "test"):
        check_split(source, name)
    split = source.split("test")
    picture, boxes, kinds = make_scene(1, 9, 32)
    assert np.array_equal(split[1]["image"].permute(1, 2, 0).numpy(), picture)
    (found,) = source.readout.boxes(split[1]["labels"][None])
    order, expected = found["boxes"][:, 0].argsort(), boxes[:, 0].argsort()
    assert np.allclose(found["boxes"][order], boxes[expected], atol=1e-5)
    assert found["labels"][order].tolist() == kinds[expected].tolist()
    left, upper, right, lower = (32 * boxes[0]).round().astype(int)
    inside = picture[upper + 1 : lower - 1, left + 1 : right - 1]
    assert (np.abs(inside.astype(int) - np.median(picture, (0, 1))).sum(-1) > 20).mean() > 0.4  # the background is most
    with pytest.raises(InputError, match=r"a grid of 1 to 32 cells, got size 32, 6 \+ 0 \+ 3 scenes, grid 8"):
        Scenes(size=32, train=6, val=0, test=3, seed=1, cache=tmp_path)


def voc(root, **options) -> VOC:
    return VOC(root, size=32, grid=8, **options)


@pytest.fixture
def written(tmp_path):
    write_scenes(tmp_path / "data", train=10, val=3, test=2, size=64)
    return tmp_path / "data"


def test_the_layout_of_voc_is_read_with_its_lists(written, tmp_path):
    source = voc(written)
    source.check()
    assert source.classes == SHAPES and source.facts() == list(SHAPES)
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [10, 3, 2]
    check_split(source, "train")
    split = source.split("val")
    assert split.name(0).endswith("JPEGImages/000011.jpg")
    (found,) = source.readout.boxes(torch.from_numpy(split.labels[:1]))
    boxes = make_scene(0, 10, 64)[1]
    assert np.allclose(found["boxes"].sort(0).values, np.sort(boxes, 0), atol=0.5 / 64 + 1e-5)  # whole pixels
    (written / "ImageSets/Main/test.txt").unlink()  # as VOC 2012 comes
    assert [len(voc(written).split(name)) for name in ("train", "val", "test")] == [9, 3, 1]
    for file in (written / "ImageSets/Main").iterdir():
        file.unlink()
    again = voc(written)
    again.recall(["triangle", "rectangle", "ellipse", "star"])  # as a run keeps them
    assert [len(again.split(name)) for name in ("train", "val", "test")] == [12, 1, 2]
    assert again.label_names[0] == "triangle[0,0]" and len(again.label_names) == 8 * 64
    write_scenes(tmp_path / "two/VOC2007", train=2, val=1, test=1, size=64)
    write_scenes(tmp_path / "two/VOC2012", train=3, val=1, test=1, size=64)
    assert [len(voc(tmp_path / "two").split(name)) for name in ("train", "val", "test")] == [5, 2, 2]


def annotate(root, name, *objects, size=(100, 60)):
    """A grey picture with objects: name, edges, and whether it is difficult."""
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(root / f"JPEGImages/{name}.png")
    text = "".join(
        f"<object><name>{kind}</name><difficult>{hard}</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for kind, (a, b, c, d), hard in objects
    )
    (root / f"Annotations/{name}.xml").write_text(f"<annotation>{text}</annotation>")


def test_boxes_are_cropped_with_the_picture(tmp_path):
    dog, beyond, hard = ("dog", (21, 1, 50, 30), 0), ("dog", (1, 1, 30, 60), 0), ("cat", (41, 11, 50, 50), 1)
    part = ("dog", (61, 31, 96, 60), 0)
    for i in range(10):
        annotate(tmp_path, f"{i}", dog, beyond, hard, part)
    source = voc(tmp_path)
    (found,) = source.readout.boxes(torch.from_numpy(source.split("val").labels))
    assert source.classes == ("dog",)  # a difficult one is as if it weren't there
    corner, clipped = found["boxes"].sort(0).values  # of the picture's pixels 21 to 80
    torch.testing.assert_close(corner, torch.tensor([0, 0, 0.5, 0.5]))
    torch.testing.assert_close(clipped, torch.tensor([40 / 60, 0.5, 1, 1]))


def test_boxes_that_reach_beyond_their_picture_are_told(tmp_path, caplog):
    for i, edges in enumerate(
        [(1, 1, 100, 60), (0, 1, 101, 60), (1, 1, 300, 60), (-5, 1, 50, 60), *[(1, 1, 9, 9)] * 8]
    ):
        annotate(tmp_path, f"{i}", ("dog", edges, 0))
    voc(tmp_path).check()
    (line,) = [record.message for record in caplog.records if "reach beyond" in record.message]
    assert "boxes of 2 annotations" in line and "2.xml" in line and "3.xml" in line and "1.xml" not in line


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (lambda root: None, {}, "must have a folder JPEGImages and, beside it, Annotations"),
        (
            lambda root: (root / "Annotations/3.xml").write_text("<annotation><object>"),
            {},
            "3.xml is no annotation of Pas",
        ),
        (lambda root: annotate(root, "3", ("dog", (9, 9, 9, 20), 0)), {}, r"3.xml .* the box of dog has the edges \[9"),
        (
            lambda root: annotate(root, "3", ("eel", (29, 9, 49, 20), 0)),
            {"classes": ["dog"]},
            "3.png has the class 'eel'",
        ),
        (lambda root: (root / "Annotations/3.xml").write_text("<a><object><name>b</name></object></a>"), {}, "its box"),
        (
            lambda root: (root / "Annotations/3.xml").write_text(
                "<a><object><name>b</name><bndbox><xmax>3</xmax></bndbox></object></a>"
            ),
            {},
            "the box of b lacks xmin",
        ),
        (lambda root: None, {"classes": ["dog", "width"]}, "need names of their own, none called width"),
        (lambda root: None, {"classes": ["dog", "dog"]}, "need names of their own, none twice"),
        (
            lambda root: (root / "JPEGImages/3.png").unlink(),
            {},
            "1 of 10 images of the pictures with boxes are missing",
        ),
    ],
)
def test_annotations_that_cannot_be_read_are_named(write, options, message, tmp_path):
    root = tmp_path / "data"
    for i in range(10):
        annotate(root, f"{i}", ("dog", (21, 1, 50, 30), 0))
    if "must have" in message:
        (root / "Annotations").rename(root / "notes")
    write(root)
    with pytest.raises(InputError, match=message):
        voc(root, **options).check()


def test_a_list_without_annotations_and_pictures_without_boxes_are_told(written):
    (written / "ImageSets/Main/test.txt").write_text("000014\nnowhere\n")
    with pytest.raises(InputError, match="lists 1 pictures without a file in Annotations: nowhere"):
        voc(written).check()
    (written / "ImageSets/Main/test.txt").write_text((written / "ImageSets/Main/val.txt").read_text())
    with pytest.raises(InputError, match=r"test.txt lists .* which another list of that folder has, too"):
        voc(written).check()
    for i in range(10):
        annotate(written.parent / "empty", f"{i}")
    with pytest.raises(InputError, match=r"the 10 annotations of .* have no box that can be trained on"):
        voc(written.parent / "empty").check()


@pytest.mark.nightly
def test_a_detector_trains_and_its_pictures_are_edited(tmp_path):
    few = ["data.source.train=32", "data.source.val=4", "data.source.test=4", f"data.source.cache={tmp_path}"]
    steps = [f"stage.{stage}.trainer.max_steps=2" for stage in ("task", "inverse", "prior", "judge")]
    small = [f"stage.{stage}.batch_size=4" for stage in ("task", "inverse", "prior", "judge")]
    run = tmp_path / "run"
    succeed("train.py", "experiment=scenes_boxes", *few, *steps, *small, "callbacks.pictures.images=2", f"folder={run}")
    found = Run(run).all_metrics()
    assert {"map_50", "map", "right_inverse_error"} < found["task"].keys() and found["task"][
        "right_inverse_error"
    ] < 1e-4
    words = ("sample.py", f"run={run}", "task=edit", "count=2", "sampler.steps=2", "sampler.start=null")
    set_ = "edit.set={remove: 0.2 0.2, add: ellipse 0.5 0.5 0.3 0.3}"
    succeed(*words, set_, "guidance=nlbp", "guidance.exact=true", "guidance.stop=null")
    lines = [json.loads(line) for line in (run / "samples/edit/metadata.jsonl").read_text().splitlines()]
    assert lines[0]["set"] == {"add": "ellipse 0.50 0.50 0.30 0.30", "remove": "0.188 0.188"}
    assert lines[0]["achieved"]["ellipse[4,4]"] == pytest.approx(2.5, abs=1e-3)
    assert "there is no class 'elipse' (did you mean ellipse?)" in fail(
        *words, "edit.set={add: elipse 0.5 0.5 0.3 0.3}"
    )


def test_the_config_of_voc_fits_its_twenty_classes():
    config = configuration("train", "experiment=voc_boxes")
    assert config.network.plan[-2].channels > 20 + 4
    assert config.network.grid == config.judge.grid == config.data.source.grid == config.data.size / 4


def test_boxes_can_stand_beside_other_labels():
    both = Mixed([Values(("light",)), BOXES])
    checked(both, both.names)
    assert both.settings({"light": 0.3, "remove": "0.1 0.1"}) == {0: pytest.approx(0.3), 1: -5.0, 49: -5.0}
