"""Readers of data sets on disk, in each layout, whole and damaged."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spnn.data import CELEBA_ATTRIBUTES, CelebA, CelebAMaskHQ, ImageData, ImageFolder
from spnn.data.faces import make_face
from spnn.data.faces.measures import POINTS, face_points
from spnn.data.files import decode_image
from spnn.data.layouts import write_faces
from spnn.errors import InputError
from spnn.readout import Values

READERS = {"celeba": CelebA, "celeba_kaggle": CelebA, "celebahq": CelebAMaskHQ, "image_folder": ImageFolder}
COUNTS = {"train": 16, "val": 2, "test": 2}


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """The same twenty faces in each layout."""
    folder = tmp_path_factory.mktemp("faces")
    for layout in READERS:
        write_faces(folder / layout, layout, **COUNTS, size=64, seed=3)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """Copies a data set, to damage it."""

    def copy(layout: str) -> Path:
        return Path(shutil.copytree(whole / layout, tmp_path / layout))

    return copy


@pytest.mark.parametrize("cache", [False, True], ids=["files", "cache"])
@pytest.mark.parametrize("layout", READERS)
def test_every_layout_is_read(layout, cache, whole, tmp_path):
    source = READERS[layout](whole / layout, size=16, cache=cache, cache_folder=tmp_path)
    assert tuple(source.label_names) == CELEBA_ATTRIBUTES and source.image_shape == (3, 16, 16)
    assert {name: len(source.split(name)) for name in COUNTS} == COUNTS
    for split, place, index in (("train", 4, 4), ("val", 1, 17), ("test", 1, 19)):
        face, attributes = make_face(3, index, 178 if "img_align" in source.split(split).name(0) else 64)
        item = source.split(split)[place]
        assert item["labels"].bool().tolist() == attributes.tolist()
        assert source.split(split).labels[place].tolist() == attributes.tolist()
        expected = np.asarray(Image.fromarray(face).resize((16, 16), Image.Resampling.BICUBIC)).astype(float)
        assert abs(item["image"].permute(1, 2, 0).numpy() - expected).mean() < 4  # but for JPEG
        assert item["index"] == place and Path(source.split(split).name(place)).is_file()


@pytest.mark.parametrize("layout", ["celeba", "celeba_kaggle"])
def test_points_of_celeba_are_those_of_the_faces_and_mirrored_with_them(layout, whole):
    source = CelebA(whole / layout, 32, labels="points")
    source.check()
    labels = source.split("train").labels
    expected = np.stack([face_points(3, index).reshape(-1) for index in range(len(labels))])
    assert np.abs(labels - expected).max() < 0.5 / 178  # they are written in whole pixels
    readout = source.readout
    assert isinstance(readout, Values) and readout.names == source.label_names == tuple(POINTS)
    low, high = readout.ranges["left_eye_x"]
    assert 0.3 < low < high < 0.45
    again = CelebA(whole / layout, 32, labels="points")
    again.recall(json.loads(json.dumps(source.facts())))  # as a run keeps it
    assert again.readout.ranges.keys() == readout.ranges.keys() and list(again.readout.ranges["nose_y"]) == list(
        readout.ranges["nose_y"]
    )
    mirrored = dict(zip(source.label_names, source.mirror(torch.from_numpy(labels))[0].tolist(), strict=True))
    plain = dict(zip(source.label_names, labels[0].tolist(), strict=True))
    assert mirrored["left_eye_x"] == pytest.approx(1 - plain["right_eye_x"])
    assert mirrored["left_eye_y"] == pytest.approx(plain["right_eye_y"])


def test_points_that_are_missing_or_no_numbers_are_named(copied):
    root = copied("celeba")
    path = root / "list_landmarks_align_celeba.txt"
    text = path.read_text()
    for changed, message in (
        (text.replace("lefteye_x", "eye_x"), "must have the columns .* but lacks lefteye_x"),
        (text.replace("000002.jpg", "900002.jpg"), "has no points of 1 images: 000002.jpg"),
        (re.sub(r"(000002.jpg +)\d+", r"\1x", text), "must hold numbers of pixels"),
    ):
        path.write_text(changed)
        with pytest.raises(InputError, match=message):
            CelebA(root, 32, labels="points").check()
    path.unlink()
    with pytest.raises(InputError, match=r"points: MISSING, list_landmarks_align_celeba.txt"):
        CelebA(root, 32, labels="points").check()
    CelebA(root, 32).check()  # attributes need none
    with pytest.raises(InputError, match="attributes or points, not 'dots'"):
        CelebA(root, 32, labels="dots")


@pytest.mark.parametrize("layout", READERS)
def test_parts_are_found_in_nested_folders(layout, whole, tmp_path):
    shutil.copytree(whole / layout, tmp_path / "downloads/archive")
    if layout == "celeba":  # tables and images apart, as from the authors' drive
        (tmp_path / "downloads/Anno").mkdir()
        (tmp_path / "downloads/archive/list_attr_celeba.txt").rename(tmp_path / "downloads/Anno/list_attr_celeba.txt")
    source = READERS[layout](tmp_path, size=16)
    assert len(source.split("train")) == 16


def test_aligned_images_are_taken_rather_than_those_in_the_wild(copied):
    root = copied("celeba")
    (root / "img_celeba").mkdir()
    Image.new("RGB", (400, 300)).save(root / "img_celeba/000001.jpg")
    assert "img_align_celeba" in CelebA(root, size=16).split("train").name(0)


def rewrite(path: Path, change) -> None:
    path.write_bytes(change(path.read_text()).encode())


def exchange_columns(text: str, separator: str | None) -> str:
    """The table with its first two attributes in the other order."""
    lines = [line.split(separator) for line in text.splitlines()]
    for line in lines[-21:]:  # the header and twenty rows
        first = len(line) - 40
        line[first], line[first + 1] = line[first + 1], line[first]
    return "\n".join((separator or " ").join(line) for line in lines) + "\n"


HARMLESS = {
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "zeros": lambda text: text.replace("-1", "0"),
    "byte order mark": lambda text: "\ufeff" + text,
    "blank lines": lambda text: text + "\n\n",
    "other order": lambda text: exchange_columns(text, "," if "image_id," in text else None),
}


@pytest.mark.parametrize(
    "layout, table", [("celeba", "list_attr_celeba.txt"), ("celeba_kaggle", "list_attr_celeba.csv")]
)
@pytest.mark.parametrize("change", HARMLESS)
def test_what_does_no_harm(layout, table, change, copied, whole):
    root = copied(layout)
    rewrite(root / table, HARMLESS[change])
    attributes = CelebA(root, size=16).split("train").labels
    assert np.array_equal(attributes, CelebA(whole / layout, size=16).split("train").labels)


ATTRIBUTES, PARTITION, HQ, OWN = (
    "list_attr_celeba.txt",
    "list_eval_partition.txt",
    "CelebAMask-HQ-attribute-anno.txt",
    "attributes.csv",
)


def write(name: str, change):
    return lambda root: rewrite(root / name, change)


def line(number: int, change):
    """Change one line of a text, counted from 1."""

    def apply(text: str) -> str:
        lines = text.splitlines()
        lines[number - 1] = change(lines[number - 1])
        return "\n".join(lines) + "\n"

    return apply


def one(root: Path) -> Path:
    """An image of the training split."""
    return next(root.rglob("000003.jpg"), None) or next(root.rglob("3.jpg"))


def cut(root: Path) -> None:
    one(root).write_bytes(one(root).read_bytes()[:800])


DAMAGES = {
    "no tables": ("celeba", lambda r: (r / ATTRIBUTES).unlink(), r"attributes: MISSING, list_attr_celeba\.txt or"),
    "no partition": ("celeba", lambda r: (r / PARTITION).unlink(), r"partition: MISSING, list_eval_partition\.txt"),
    "no images": ("celeba", lambda r: shutil.rmtree(r / "img_align_celeba"), r"images: MISSING, 000001\.jpg"),
    "empty folder": ("celeba", lambda r: [shutil.rmtree(r), r.mkdir()], "is not complete in"),
    "no folder": ("celeba", shutil.rmtree, "is not a folder"),
    "archive not unpacked": (
        "celebahq",
        lambda r: [shutil.rmtree(r / "CelebA-HQ-img"), (r / "CelebAMask-HQ.zip").touch()],
        r"unpack CelebAMask-HQ\.zip",
    ),
    "39 columns": ("celeba", write(ATTRIBUTES, line(2, lambda s: s.rpartition(" ")[0])), "line 3: 40 values for 39"),
    "39 attributes": (
        "celeba",
        write(ATTRIBUTES, lambda t: "\n".join([t.split("\n")[0], *[s.rpartition(" ")[0] for s in t.splitlines()[1:]]])),
        "has 39 attributes, expected CelebA's 40; missing: Young",
    ),
    "unknown attribute": ("celeba", write(ATTRIBUTES, line(2, lambda s: s.replace("Bald", "Bold"))), "unknown: Bold"),
    "row cut off": ("celeba", write(ATTRIBUTES, line(9, lambda s: s[:40])), r"txt, line 9: \d+ values for 40 columns"),
    "value 2": (
        "celeba",
        write(ATTRIBUTES, line(4, lambda s: s[:-2] + " 2")),
        r"Young of 000002\.jpg is '2', expected",
    ),
    "value missing": ("celeba_kaggle", write("list_attr_celeba.csv", line(3, lambda s: s[:-2] + ",")), "is ''|values"),
    "-1 and 0": (
        "celeba",
        write(ATTRIBUTES, line(4, lambda s: s.replace(" 1", " 0"))),
        r"000002\.jpg is '0', expected -1 or 1",
    ),
    "no count": ("celeba", write(ATTRIBUTES, line(1, lambda s: "")), "line 1 must be the number of images"),
    "wrong count": ("celeba", write(ATTRIBUTES, line(1, lambda s: "21")), "says that it has 21 rows, but has 20"),
    "table cut off": ("celeba", write(ATTRIBUTES, lambda t: t[: len(t) // 2]), "says that it has|values for"),
    "empty table": ("celeba", write(ATTRIBUTES, lambda t: ""), "line 1 must be the number of images"),
    "header alone": ("celeba_kaggle", write("list_attr_celeba.csv", lambda t: t.splitlines()[0]), "has no rows"),
    "web page": (
        "celeba",
        write(ATTRIBUTES, lambda t: "<!DOCTYPE html><html>quota</html>"),
        "is a web page, not a table",
    ),
    "binary": ("celeba", lambda r: (r / ATTRIBUTES).write_bytes(b"\xff\xfe\x00\x81" * 9), "is not a text file"),
    "name twice": (
        "celeba",
        write(ATTRIBUTES, lambda t: t.replace("000005", "000004")),
        "more than one row for '000004",
    ),
    "column twice": (
        "celeba",
        write(ATTRIBUTES, line(2, lambda s: s.replace("Bald", "Young"))),
        "column twice: 'Young'",
    ),
    "split 3": ("celeba", write(PARTITION, line(2, lambda s: s[:-1] + "3")), "is '3', expected 0 or 1 or 2"),
    "not in the partition": (
        "celeba",
        write(PARTITION, lambda t: "\n".join(t.splitlines()[1:])),
        "in which split 1 of 20",
    ),
    "empty split": (
        "celeba",
        write(PARTITION, lambda t: re.sub(" 1$", " 0", t, flags=re.M)),
        "no images in the split 'val'",
    ),
    "image missing": ("celeba", lambda r: one(r).unlink(), r"1 of 20 images of CelebA are missing in .*000003\.jpg"),
    "two copies": (
        "celebahq",
        lambda r: [shutil.copytree(r / "CelebA-HQ-img", r / "copy")],
        "more than one candidate below",
    ),
    "not a number": ("celebahq", write(HQ, lambda t: t.replace("7.jpg", "seven.jpg")), "are named by number"),
    "no table of own": ("image_folder", lambda r: (r / OWN).unlink(), r"there is no attributes\.csv"),
    "no attributes of own": (
        "image_folder",
        lambda r: (r / OWN).write_text("image,split\n000001.jpg,train\n"),
        "has no labels",
    ),
    "unknown split": (
        "image_folder",
        write(OWN, lambda t: t.replace("train", "training")),
        r"split of 000001\.jpg is 'training', expected train or",
    ),
    "images elsewhere": ("image_folder", lambda r: shutil.rmtree(r / "images"), "no folder below"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_data_set_is_said(damage, copied):
    layout, harm, message = DAMAGES[damage]
    root = copied(layout)
    harm(root)
    with pytest.raises(InputError, match=message):
        READERS[layout](root, size=16).check()


UNREADABLE = {
    "truncated": cut,
    "web page": lambda root: one(root).write_text("<html>quota exceeded</html>"),
    "empty": lambda root: one(root).write_bytes(b""),
    "folder": lambda root: [one(root).unlink(), (root / "img_align_celeba/000003.jpg").mkdir()],
}


@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("cache", [False, True], ids=["files", "cache"])
def test_images_that_cannot_be_decoded_are_named_or_left_out(damage, cache, copied, tmp_path, caplog):
    root = copied("celeba")
    UNREADABLE[damage](root)
    options = {"size": 16, "cache": cache, "cache_folder": tmp_path / "cache"}
    with pytest.raises(InputError, match=r"000003\.jpg.*data\.on_bad_image=skip"):
        source = CelebA(root, **options)
        source.prepare()
        list(source.split("train"))
    source = CelebA(root, **options, on_bad_image="skip")
    names = [Path(source.split("train").name(i)).name for i in range(len(source.split("train")))]
    assert len(names) == 15 and "000003.jpg" not in names
    assert "left out: 1 of 20 images of CelebA are unreadable" in caplog.text
    assert len(list(source.split("train"))) == 15
    images = source.split("train")[2]["image"].permute(1, 2, 0).numpy()
    assert np.array_equal(images, decode_image(root / "img_align_celeba/000004.jpg", (3, 16, 16)))


def test_missing_images_can_be_left_out(copied, caplog):
    root = copied("celebahq")
    one(root).unlink()
    source = CelebAMaskHQ(root, size=16, on_bad_image="skip")
    assert sum(len(source.split(name)) for name in COUNTS) == 19
    assert "left out: 1 of 20 images of CelebAMask-HQ are missing" in caplog.text


def test_errors_in_loading_processes_are_as_short_as_others(copied):
    root = copied("celeba")
    cut(root)
    data = ImageData(CelebA(root, size=16), batch_size=8, flip=False, num_workers=1)
    with pytest.raises(InputError) as caught:
        list(data.train_dataloader())
    assert str(caught.value).startswith(str(root)) and "Traceback" not in str(caught.value)


def test_impossible_options_are_refused(whole):
    for options, message in (
        ({"size": 0}, "whole number of pixels"),
        ({"size": 16, "on_bad_image": "ignore"}, "'error' or 'skip'"),
    ):
        with pytest.raises(InputError, match=message):
            CelebA(whole / "celeba", **options)
    with pytest.raises(InputError, match=r"CelebA needs a folder: data\.root=<folder>.*data=synthetic_faces"):
        CelebA(None, size=16).check()


def test_own_images_have_any_attributes_and_are_split_at_random(tmp_path):
    (tmp_path / "pictures/a").mkdir(parents=True)
    lines = ["file,happy,tall"]
    for i in range(30):
        Image.new("RGB", (20, 10 + i), (i, 0, 0)).save(tmp_path / f"pictures/a/{i}.png")
        lines.append(f"a/{i}.png,{i % 2},{int(i > 20)}")
    (tmp_path / "attributes.csv").write_text("\n".join(lines))
    source = ImageFolder(tmp_path, size=8)
    assert source.label_names == ("happy", "tall")
    assert [len(source.split(name)) for name in COUNTS] == [24, 3, 3]
    seen = [Path(source.split(name).name(i)).stem for name in COUNTS for i in range(len(source.split(name)))]
    assert sorted(seen, key=int) == [str(i) for i in range(30)] != seen
    for i in range(24):
        number = int(Path(source.split("train").name(i)).stem)
        assert source.split("train").labels[i].tolist() == [number % 2 == 1, number > 20]
        assert abs(int(source.split("train")[i]["image"][0, 0, 0]) - number) <= 1
    other = ImageFolder(tmp_path, size=8, seed=1)
    assert other.split("val").name(0) != source.split("val").name(0)


@pytest.mark.parametrize("size", [(256, 256), (178, 218), (218, 178)])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_decoding_at_reduced_size_is_decoding_and_resizing(size, orientation, tmp_path):
    gradient = np.stack(np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1])), -1)
    pixels = np.concatenate([gradient, 255 - gradient[..., :1]], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "image.jpg", quality=95, exif=exif)
    image = Image.open(tmp_path / "image.jpg").transpose(
        {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}[orientation]
    ) if orientation > 1 else Image.open(tmp_path / "image.jpg")  # fmt: skip
    side = min(size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    expected = image.crop((left, top, left + side, top + side)).resize((32, 32), Image.Resampling.BICUBIC)
    decoded = decode_image(tmp_path / "image.jpg", (3, 32, 32))
    assert abs(decoded.astype(float) - np.asarray(expected)).max() < 6


def test_the_cache_is_made_once_and_anew_when_something_changes(whole, tmp_path, copied):
    root = copied("celeba")
    first = CelebA(root, size=16, cache=True, cache_folder=tmp_path / "cache")
    batch = first.split("train").__getitems__([3, 1])
    (folder,) = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    made = (folder / "images.npy").stat().st_mtime_ns
    again = CelebA(root, size=16, cache=True, cache_folder=tmp_path / "cache")
    assert torch.equal(again.split("train").__getitems__([3, 1])["image"], batch["image"])
    assert (folder / "images.npy").stat().st_mtime_ns == made
    plain = CelebA(root, size=16).split("train")
    assert torch.equal(plain[3]["image"], batch["image"][0])
    os.utime(one(root), ns=(1, 1))
    for changed in ({"size": 16}, {"size": 8}):
        CelebA(root, **changed, cache=True, cache_folder=tmp_path / "cache").prepare()
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 3


def test_a_damaged_cache_is_named(whole, tmp_path):
    CelebA(whole / "celeba", size=16, cache=True, cache_folder=tmp_path).prepare()
    next(tmp_path.glob("*/images.npy")).write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"is damaged .* delete it"):
        CelebA(whole / "celeba", size=16, cache=True, cache_folder=tmp_path).prepare()


def own(folder: Path, header: str, rows: list[str], *, names: list[str]) -> ImageFolder:
    """A folder of images with a table."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(folder / name)
    (folder / "attributes.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return ImageFolder(folder, size=8)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_are_read_as_spreadsheets_write_them(separator, tmp_path):
    words = ["1.0", "True", "yes", "0.0", "False", "no"]
    rows = [separator.join([f"{i}.png", words[i % 6], words[(i + 3) % 6]]) for i in range(12)]
    header = "# exported on Monday\n" + separator.join(["image", "happy", "tall"])
    source = own(tmp_path, header, rows, names=[f"{i}.png" for i in range(12)])
    labels = {Path(name).stem: row for name, row in zip(source.paths, source.listing.labels.tolist(), strict=True)}
    assert source.label_names == ("happy", "tall")
    assert all(labels[str(i)] == [i % 6 < 3, i % 6 >= 3] for i in range(12))


def test_a_column_without_a_name_is_named_by_its_place(tmp_path):
    source = own(tmp_path, "image,happy,", ["0.png,1,0"], names=["0.png"])
    with pytest.raises(InputError, match="column 3 has no name in the header, happy"):
        source.check()


def test_bare_names_of_images_in_several_folders_and_in_another_case_are_found(tmp_path, caplog):
    names = [f"{'ab'[i % 2]}/p{i}.{'png' if i < 15 else 'PNG'}" for i in range(20)]
    source = own(tmp_path, "image,happy", [f"p{i}.png,{i % 2}" for i in range(20)], names=names)
    assert sorted(source.paths) == sorted(str(tmp_path / name) for name in names) or {
        Path(path).resolve() for path in source.paths
    } == {(tmp_path / name).resolve() for name in names}
    assert sum(len(source.split(split)) for split in COUNTS) == 20


def test_a_part_of_celeba_is_found_though_the_first_middle_and_last_image_are_missing(copied, caplog):
    root = copied("celeba")
    names = sorted(path.name for path in (root / "img_align_celeba").iterdir())
    for name in (names[0], names[len(names) // 2], names[-1]):
        (root / "img_align_celeba" / name).unlink()
    source = CelebA(root, size=16, on_bad_image="skip")
    assert len(source.listing.names) == 17 and "3 of 20 images" in caplog.text
