"""One's own images: class folders, and tables whose columns are answers, numbers or classes."""

import json

import numpy as np
import pytest
import torch
from commands import configuration
from PIL import Image

from spnn import Session
from spnn.data import ClassFolders, ImageFolder
from spnn.errors import InputError
from spnn.readout import Binary, Classes, Mixed, Values
from spnn.runs import Run
from spnn.training import train


def picture(path, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(path)


def folders(root, names, count=10):
    for name in names:
        for i in range(count):
            picture(root / name / f"{i}.png", 10 * i)
    return ClassFolders(root, size=8)


def counts(source):
    return [len(source.split(name)) for name in ("train", "val", "test")]


def test_class_folders_are_shuffled_and_split_within_each_class(tmp_path):
    source = folders(tmp_path, ["dog/deep", "cat", ".hidden", "__MACOSX"], 20)
    (tmp_path / "cat/notes.txt").write_text("no image")
    source.check()
    assert source.label_names == ("cat", "dog") and isinstance(source.readout, Classes)
    assert counts(source) == [32, 4, 4]
    for name, each in (("train", 16), ("val", 2)):
        split = source.split(name)
        assert split.labels.sum(0).tolist() == [each, each]
        assert all((split.labels[i, 0] == ("/cat/" in split.name(i))) for i in range(len(split)))
    assert len(set(source.split("train").labels[:10, 0].tolist())) == 2  # the first are not of one class
    again = ClassFolders(tmp_path, size=8)
    assert again.split("test").labels.tolist() == source.split("test").labels.tolist()
    assert list(again.listing.names) == list(source.listing.names)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "test"), [18, 2, 20]),  # as CIFAR-10 has it
        (("Train", "valid", "test"), [20, 20, 20]),
        (("train", "validation"), [18, 20, 2]),
        (("train",), [16, 2, 2]),
    ],
)
def test_splits_in_folders_are_kept_and_missing_ones_are_taken_from_train(splits, expected, tmp_path):
    for split in splits:
        source = folders(tmp_path / split, ["cat", "dog"])
    source = ClassFolders(tmp_path, size=8)
    assert counts(source) == expected
    names = [source.split(name).name(i) for name in ("train", "val", "test") for i in range(len(source.split(name)))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "must hold a folder of images for each of at least two classes, .* it has nothing"),
        (["cat"], "at least two classes, .* it has cat"),
        (["data/cat", "data/dog"], r"at least two classes, .* it has data. Is it meant to be data.root=.*/data\?"),
        (["train/cat", "train/dog", "test/cat"], "test must hold a folder .* it has cat"),
        (["train/cat", "train/dog", "test/cat", "test/eel"], "test and train must have the same classes, .* dog, eel"),
        (["train/cat", "train/dog", "extra/cat"], "the folder of a split, train, and others: extra"),
    ],
)
def test_class_folders_that_are_none_are_told(names, message, tmp_path):
    with pytest.raises(InputError, match=message):
        folders(tmp_path, names, 2).check()
    with pytest.raises(InputError, match="is not a folder"):
        ClassFolders(tmp_path / "nowhere", size=8).check()


def test_a_class_that_none_would_be_trained_on_is_told(tmp_path):
    folders(tmp_path, ["cat", "dog"])
    picture(tmp_path / "eel/1.png")
    with pytest.raises(InputError, match="eel has too few images for one to be trained on"):
        ClassFolders(tmp_path, size=8).check()


def table(root, header, *columns, count=10, **options):
    """A folder of images with a table of columns."""
    rows = [header, *(",".join([f"{i}.png", *(str(column[i]) for column in columns)]) for i in range(count))]
    for i in range(count):
        picture(root / f"{i}.png")
    (root / "attributes.csv").write_text("\n".join(rows))
    return ImageFolder(root, size=8, **options)


TEN = range(10)
SPLIT = ["train"] * 8 + ["val", "test"]


def test_columns_are_recognised_by_what_they_hold(tmp_path):
    columns = ["yes", "no"] * 5, [18 + i / 2 for i in TEN], ["red", "blue"] * 5, [i % 3 for i in TEN], SPLIT
    source = table(tmp_path, "image,glasses,age,hair,stars,split", *columns)
    assert source.label_names == ("glasses", "age", "stars", "hair_blue", "hair_red")
    assert [type(part) for part in source.readout.parts] == [Binary, Values, Classes]
    assert source.split("train").labels[:2].tolist() == [[1, 18, 0, 0, 1], [0, 18.5, 1, 1, 0]]
    assert source.readout.settings({"age": 21.5, "hair": "red"}) == {1: 1.0, 4: True}  # the range is train's
    assert source.readout.text(1, 0.0) == "19.8"


def test_answers_alone_are_as_ever(tmp_path):
    source = table(tmp_path, "image,b,a", [0, 1] * 5, [-1, 1] * 5)
    with pytest.raises(InputError, match=r"b of 0.png is '0', expected -1 or 1"):
        source.check()
    source = table(tmp_path, "image,b,a", [0, 1] * 5, [1, 0] * 5)
    assert source.label_names == ("b", "a") and type(source.readout) is Binary and source.facts() == ["b", "a"]
    assert source.split("train").labels.dtype == bool


def test_the_user_can_say_what_a_column_holds(tmp_path):
    said = {"digit": "class", "age": {"kind": "number", "range": [0, 100], "unit": "years"}}
    source = table(tmp_path, "image,digit,age,split", [i % 2 for i in TEN], TEN, SPLIT, readout=said)
    assert source.label_names == ("age", "digit_0", "digit_1")
    assert source.readout.settings({"age": "25 years", "digit": 1}) == {0: -0.5, 2: True}
    again = ImageFolder(tmp_path, size=8)
    again.recall(json.loads(json.dumps(source.facts())))  # as a run keeps it
    assert again.label_names == source.label_names and again.readout.settings({"age": 25}) == {0: -0.5}


@pytest.mark.parametrize(
    ("column", "said", "message"),
    [
        ([f"note {i}" for i in TEN], {}, r"column x holds neither .* it has 'note 0', 'note 1', 'note 2', \.\.\. \(10"),
        ([*range(8), "many", "few"], {}, "column x holds neither .* 8 of 10 are numbers"),
        ([*range(9), "9 mm"], {}, "x of 9.png is '9 mm', expected a finite number"),
        (TEN, {"x": {"kind": "number", "range": [9, 0]}}, "gives x the range from 9 to 0: the lower end comes first"),
        (["red"] * 5 + [""] * 5, {}, "x of 5.png is empty"),
        (["1"] * 9 + ["perhaps"], {}, "x of 9.png is 'perhaps', expected 0 or 1"),
        ([*range(9), "nan"], {"x": "number"}, "x of 9.png is 'nan', expected a finite number"),
        ([5] * 10, {}, "x is 5 in all training images, which says nothing"),
        (["a", "b"] * 4 + ["c", "a"], {}, "x of 8.png is 'c', and training images have a, b"),
        ([0, 1] * 5, {"y": "class"}, "data.readout has the column y, but .* has x"),
        ([0, 1] * 5, {"x": "colour"}, "data.readout says 'colour' of x: give yes_no, number, class"),
        ([0, 1] * 5, {"x": {"kind": "number", "units": "m"}}, "data.readout says .* of x"),
    ],
)
def test_columns_that_cannot_be_told_are_named(column, said, message, tmp_path):
    with pytest.raises(InputError, match=message):
        table(tmp_path, "image,x,split", column, SPLIT, readout=said).check()


@pytest.mark.slow
def test_a_table_of_all_kinds_trains_and_its_run_remembers_them(tmp_path):
    generator = np.random.default_rng(0)
    level, red = generator.integers(0, 200, 60), generator.random(60) < 0.5
    source = table(
        tmp_path / "data",
        "image,bright,level,colour,split",
        (level > 100).astype(int),
        level,
        np.where(red, "red", "grey"),
        np.repeat(["train", "val", "test"], [40, 10, 10]),
        count=60,
    )
    for i in range(60):
        pixels = np.full((8, 8, 3), level[i], np.uint8)
        pixels[..., 1:] = level[i] // (3 if red[i] else 1)
        Image.fromarray(pixels).save(tmp_path / f"data/{i}.png")
    names = source.label_names
    steps = [f"stage.{stage}.trainer.max_steps={n}" for stage, n in (("task", 60), ("inverse", 2), ("prior", 2))]
    words = [
        "experiment=digits",
        "data=image_folder",
        f"data.root={tmp_path}/data",
        "data.size=8",
        "data.num_workers=0",
    ]
    words += ["network.plan.0.channels=9", "stage.judge.trainer.max_steps=20", "callbacks.pictures.images=2"]
    train(configuration("train", *words, *steps, *(f"stage.{s}.batch_size=20" for s in STAGES)), tmp_path / "run")
    (tmp_path / "data/attributes.csv").write_text("image,other\n0.png,1\n1.png,0\n2.png,1\n")  # it has changed since
    run = Run(tmp_path / "run")
    assert isinstance(run.source.readout, Mixed) and run.source.label_names == names
    session = Session.load(run.folder)
    drawn = session.generate({"level": 150, "colour": "red", "bright": "yes"}, 2, steps=5, guidance="nlbp")
    said = drawn.models.readout.words(drawn.problem.y[0])
    assert "level 150" in said and "colour_red" in said and "bright" in said
    assert drawn.outputs.isfinite().all() and torch.equal(drawn.problem.edited, torch.tensor([True] * 4))


STAGES = ("task", "inverse", "prior", "judge")
