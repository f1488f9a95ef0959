"""Maps of classes from masks on disk: a mask for each image, or CelebAMask-HQ's, one for each part of a face."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fail
from PIL import Image

from spnn.data import CelebAMaskHQ, MaskFolder
from spnn.data.face_parts import PARTS, read_parts
from spnn.data.faces.measures import REGIONS, coarse, face_regions
from spnn.data.files import decode_image
from spnn.data.layouts import write_faces
from spnn.data.masks import cells_of
from spnn.data.sources import SPLITS, check_split
from spnn.errors import InputError
from spnn.metrics import agreement
from spnn.readout import ClassMap

HQ = "CelebAMask-HQ-mask-anno"


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """Ten rendered faces with their masks in both layouts."""
    folder = tmp_path_factory.mktemp("masks")
    for layout in ("celebahq", "mask_folder"):
        write_faces(folder / layout, layout, train=8, val=1, test=1, size=64, seed=3)
    return folder


@pytest.fixture
def hq(faces, tmp_path):
    """Reads CelebAMask-HQ's layout from a copy, changed before."""

    def make(change=lambda root: None, **options) -> CelebAMaskHQ:
        root = shutil.copytree(faces / "celebahq", tmp_path / "hq")
        change(root)
        return CelebAMaskHQ(root, 32, **{"labels": "regions", "cache_folder": tmp_path / "cache", **options})

    return make


@pytest.fixture
def folder(tmp_path):
    """Makes a mask folder of ten images, 40x30 pixels with three classes in its masks, reads it after a change."""

    def make(change=lambda root: None, places=("images", "masks"), **options) -> MaskFolder:
        random = np.random.default_rng(0)
        for split in [place.partition("*")[0] for place in places if "*" in place] or [""]:
            images, masks = (tmp_path / "own" / split / name for name in ("images", "masks"))
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
            for i in range(10):
                Image.fromarray(random.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(images / f"{i}.jpg")
                Image.fromarray(random.integers(0, 3, (30, 40), dtype=np.uint8)).save(masks / f"{i}.png")
        change(tmp_path / "own")
        options = {"size": 32, "grid": 4, "ignore": 255, "cache_folder": tmp_path / "cache", **options}
        return MaskFolder(tmp_path / "own", **options)

    return make


def masks(numbers: np.ndarray, which: str = "[0-9].png"):
    """Changes masks."""
    return lambda root: [Image.fromarray(numbers).save(path) for path in list((root / "masks").glob(which))]


def labels(source) -> np.ndarray:
    return np.concatenate([source.split(name).labels for name in SPLITS])


@pytest.mark.parametrize("layout", ["celebahq", "mask_folder"])
def test_masks_of_rendered_faces_are_their_regions(layout, faces, tmp_path):
    options = {"labels": "regions"} if layout == "celebahq" else {"grid": 8}
    kind = CelebAMaskHQ if layout == "celebahq" else MaskFolder
    source = kind(faces / layout, size=32, cache_folder=tmp_path, **options)
    source.check()
    assert not list(tmp_path.iterdir())  # that it is there is soon seen
    source.prepare()
    size = 128 if layout == "celebahq" else 64
    expected = np.stack([coarse(face_regions(3, i, size), 8) for i in range(10)])
    readout = ClassMap(REGIONS, 8, 8)
    assert source.readout.names == readout.names == source.label_names
    assert np.array_equal(labels(source), readout.labels_of(expected))
    for name in SPLITS:
        check_split(source, name)
    mirrored = source.mirror(torch.from_numpy(labels(source)))
    assert np.array_equal(mirrored, readout.labels_of(expected[..., ::-1]))
    kept = set(tmp_path.iterdir())
    again = kind(faces / layout, size=32, cache_folder=tmp_path, **options)
    again.recall(json.loads(json.dumps(source.facts())))  # as a run keeps it
    assert np.array_equal(labels(again), labels(source)) and set(tmp_path.iterdir()) == kept  # read once


def test_parts_of_faces_lie_on_each_other_as_the_authors_have_them(tmp_path):
    paths, expected = [], np.zeros((32, 20), int)
    for number, (part, region) in enumerate(PARTS.items()):  # each leaves a column of the one before
        shown = np.zeros((32, 20), np.uint8)
        shown[:, number:] = 255
        expected[:, number:] = REGIONS.index(region)
        paths.append(f"{tmp_path}/00000_{part}.png")
        Image.fromarray(shown).convert("RGB").save(paths[-1])
    assert np.array_equal(read_parts("0.jpg", *paths), expected) and set(PARTS.values()) == {*REGIONS[1:]}
    Image.fromarray(shown[:9]).save(paths[5])
    with pytest.raises(InputError, match=r"00000_l_brow\.png has another size than the masks of other parts of 0.jpg"):
        read_parts("0.jpg", *paths)


def test_regions_need_masks_and_attributes_do_not(hq, faces):
    source = CelebAMaskHQ(faces / "celebahq", 32)
    assert len(source.label_names) == 40 and source.split("train").labels.shape == (8, 40)  # attributes need none
    with pytest.raises(InputError, match="labels are attributes or regions, not 'parts'"):
        CelebAMaskHQ(source.root, 32, labels="parts")
    with pytest.raises(InputError, match=r"masks are not in .*: expected CelebAMask-HQ-mask-anno/0/00000_skin.png"):
        hq(lambda root: shutil.rmtree(root / HQ)).check()


def test_a_face_without_any_mask_is_told_or_left_out(hq, caplog):
    source = hq(lambda root: [path.unlink() for path in (root / HQ / "0").glob("00002_*")])
    with pytest.raises(InputError, match=r"no mask of any part of .*2\.jpg.* leave .* out \(1 of 10\)"):
        source.prepare()
    source = CelebAMaskHQ(source.root, 32, labels="regions", cache_folder=source.cache_folder, on_bad_image="skip")
    assert len(source.split("train")) == 7 and "left out: 1 of 10 images" in caplog.text


@pytest.mark.parametrize("shape", [(64, 64), (60, 80), (90, 61), (23, 37), (4, 6)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_cells_are_those_of_the_image_as_it_is_cut_out(shape, orientation, tmp_path):
    grid = 4
    blocks = np.random.default_rng(0).integers(0, 2, (grid, grid))
    side = min(shape)
    numbers = np.full(shape, 2, np.uint8)  # outside of the central square
    top, left = ((length - side) // 2 for length in shape)
    inside = np.arange(side) * grid // side
    numbers[top : top + side, left : left + side] = blocks[np.ix_(inside, inside)]
    assert np.array_equal(cells_of(numbers, grid), blocks)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(numbers * 100).convert("RGB")
    image = image.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else image  # as it lies in the file
    image.resize([10 * length for length in image.size], 0).save(tmp_path / "image.png", exif=exif)
    seen = decode_image(tmp_path / "image.png", (3, 32, 32))[4::8, 4::8, 0]  # the cells' middles
    assert np.array_equal((seen > 50).astype(int), blocks)


def test_of_two_numbers_the_smaller_counts_and_ignored_ones_never():
    numbers = np.array([[9, 9, 3, 5], [9, 4, 5, 3], [9, 9, 0, 0], [9, 9, 0, 7]], np.uint8)
    assert cells_of(numbers, 2).tolist() == [[9, 3], [9, 0]]
    assert cells_of(numbers, 2, ignore=9).tolist() == [[4, 3], [9, 0]]
    assert cells_of(numbers, 2, ignore=0).tolist() == [[9, 3], [9, 7]]


def test_a_cell_that_is_not_known_adds_no_loss_and_is_not_scored(folder):
    numbers = np.zeros((30, 40), np.uint8)
    numbers[:15], numbers[15:, 20:] = 255, 1
    source = folder(masks(numbers))
    readout, found = source.readout, torch.from_numpy(labels(source)).float()
    assert source.classes == {0: "class 0", 1: "class 1"}
    readout.check(found)
    cells = readout.by_cell(found)
    assert (cells[..., :8] == 0).all() and (cells[..., 8:].sum(1) == 1).all()
    y = torch.randn_like(found)
    assert (readout.by_cell(readout.loss(y, found))[..., :8] == 0).all()
    wrong = found.clone()
    readout.by_cell(wrong)[:, 1, :8] = 1  # where nothing is known
    score = readout.metric()
    score.update(wrong, found)
    assert score.compute().tolist() == [1, 1]
    metrics = agreement(wrong, found, readout=readout)
    assert metrics["agreement"].nanmean() == 1 and metrics["mae"].nansum() == 0
    assert metrics["agreement"].isnan().sum() == 16 and not readout.has(found)[:, :8].any()


@pytest.mark.parametrize(
    ("places", "change", "expected"),
    [
        ((), lambda root: None, [8, 1, 1]),
        (("train*", "test*"), lambda root: None, [9, 1, 10]),
        (("Train*", "valid*", "testing*"), lambda root: None, [10, 10, 10]),
        (("training*", "validation*"), lambda root: turned(root, "training", "validation"), [9, 10, 1]),
    ],
)
def test_splits_are_folders_outside_or_inside(places, change, expected, folder):
    source = folder(change, places)
    source.check()
    assert np.bincount(source.listing.split).tolist() == expected
    for path, (mask,) in zip(source.paths, source.masks(), strict=True):
        assert Path(path).stem == Path(mask).stem and Path(path).parent.name in (Path(mask).parent.name, "images")


def turned(root: Path, *splits: str) -> None:
    """Puts the folders of splits into those of images and masks."""
    for name in ("images", "masks"):
        for split in splits:
            (root / name).mkdir(exist_ok=True)
            (root / split / name).rename(root / name / split)


def test_classes_are_named_in_a_file_or_by_the_numbers_found(folder):
    source = folder()
    assert source.classes == {0: "class 0", 1: "class 1", 2: "class 2"} and len(source.label_names) == 48
    (source.root / "classes.txt").write_text("sky\r\nroad\r\nmud\r\nice\r\n\r\n")
    named = MaskFolder(source.root, size=32, grid=4, ignore=1, cache_folder=source.cache_folder)
    assert named.classes == {0: "sky", 2: "mud", 3: "ice"}
    named.prepare()
    check_split(named, "train")
    moved = MaskFolder(source.root / "elsewhere", size=32, grid=4)
    moved.recall(json.loads(json.dumps(named.facts())))
    assert moved.label_names == named.label_names  # without the data
    palette = Image.fromarray((np.indices((30, 40)).sum(0) % 2).astype(np.uint8))
    palette.putpalette([9, 9, 9, 200, 0, 0])
    for i in range(10):
        palette.save(source.root / f"masks/{i}.png")
    (source.root / "classes.txt").write_text("even\nodd")
    assert MaskFolder(source.root, size=32, grid=4, cache_folder=source.cache_folder).split("train").labels.any()


BLACK = np.zeros((30, 40), np.uint8)
DAMAGES = {
    "no mask": (lambda r: (r / "masks/3.png").unlink(), r"1 of 10 .* without a mask, a PNG .* in masks: .*s/3\.jpg"),
    "no image": (lambda r: (r / "images/3.jpg").unlink(), r"1 of 10 images .* are missing in .*images/3\.\*"),
    "colours": (masks(np.zeros((30, 40, 3), np.uint8), "3.png"), r"3\.png has 3 channels: a mask has one, or a pal"),
    "many": (masks(np.full((30, 40), 300, np.uint16), "3.png"), r"3\.png has the number 300: .* from 0 to 255"),
    "proportions": (masks(BLACK[:, :30], "3.png"), r"3\.png has 30x30 pixels, and its image 40x30: .* same prop"),
    "cut off": (lambda r: (r / "masks/3.png").write_bytes(b"\x89PNG\r\n"), r"3\.png can't be read as a mask"),
    "beyond": (lambda r: (r / "classes.txt").write_text("a\nb"), r"masks/0\.png has the number 2, but .* 0 to 1"),
    "twice": (lambda r: (r / "classes.txt").write_text("a\na"), "must hold a different name in each line, .* got a, a"),
    "one class": (masks(BLACK), "needs two classes or more, but .* has class 0, beside the number 255, which is ign"),
    "no folder": (lambda r: shutil.rmtree(r / "masks"), "there is no folder .*masks: .* must hold images and masks"),
    "two images": (lambda r: shutil.copy(r / "images/3.jpg", r / "images/3.png"), "would have the same mask"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_mask_folder_is_said(damage, folder):
    change, message = DAMAGES[damage]
    source = folder(change)
    with pytest.raises(InputError, match=message):
        source.check()
        source.prepare()
        check_split(source, "train")


@pytest.mark.parametrize("damage", ["no mask", "no image", "colours"])
def test_images_without_a_good_mask_can_be_left_out(damage, folder, caplog):
    source = folder(DAMAGES[damage][0], on_bad_image="skip")
    assert sum(len(source.split(name)) for name in SPLITS) == 9 and "left out: 1 of 10 images" in caplog.text


def test_impossible_options_are_refused(folder, tmp_path):
    for options, message in (({"grid": 5}, "must divide the size of 32 pixels, got 5"), ({"ignore": 256}, "0 to 255")):
        with pytest.raises(InputError, match=message):
            MaskFolder(tmp_path, **{"size": 32, "grid": 4, **options})
    with pytest.raises(InputError, match="is not a folder"):
        MaskFolder(tmp_path / "nowhere", size=32, grid=4).check()


def test_a_grid_that_is_not_the_networks_is_refused(tmp_path):
    sizes = "data.source={train: 8, val: 4, test: 4, grid: 16}"
    plan = "network.plan=[{unshuffle: 2, channels: 11}, {unshuffle: 2, channels: 40}, {}]"
    words = ["data.labels=regions", "network=map_32", "+network.hidden=8", plan, sizes, "stages=[task]"]
    message = fail("train.py", *words, f"data.source.cache={tmp_path}", f"folder={tmp_path}/run")
    assert "the network ends in 8x8 cells, but the data's maps have 16x16" in message
