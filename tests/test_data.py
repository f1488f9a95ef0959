import multiprocessing
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from spnn.data import CELEBA_ATTRIBUTES, Digits, ImageData, SyntheticFaces, arrays
from spnn.data.arrays import cached_arrays
from spnn.data.faces import make_face
from spnn.data.faces.measures import REGIONS, coarse, measure_face
from spnn.data.order import ShuffledBatches
from spnn.data.sources import check_split
from spnn.errors import InputError
from spnn.readout import Values


def numbers(row: int) -> dict[str, np.ndarray]:
    return {"images": np.full((2, 2, 3), row, np.uint8), "even": np.bool_(row % 2 == 0)}


def never(row: int) -> dict[str, np.ndarray]:
    raise AssertionError("made twice")


def test_arrays_are_made_once_and_then_read_from_the_cache(tmp_path):
    made = cached_arrays(tmp_path, "key", range(10), numbers, chunk=3)
    read = cached_arrays(tmp_path, "key", range(10), never)
    for name in ("images", "even"):
        expected = np.stack([numbers(row)[name] for row in range(10)])
        assert isinstance(read[name], np.memmap)
        assert np.array_equal(made[name], expected) and np.array_equal(read[name], expected)
    assert len(cached_arrays(tmp_path, "another key", range(5), numbers)["even"]) == 5


def test_what_is_made_already_is_not_made_again(tmp_path):
    with pytest.raises(InputError, match="row 6"):
        cached_arrays(tmp_path, "key", range(12), broken, chunk=3)
    asked = tmp_path / "asked"
    made = cached_arrays(tmp_path, "key", range(12), partial(recorded, asked), chunk=3)
    assert sorted(map(int, asked.read_text().split())) == [6, 7, 8, 9, 10, 11]
    assert made["images"][:, 0, 0, 0].tolist() == list(range(12))
    assert made["even"].tolist() == [True, False] * 6


def broken(row: int) -> dict[str, np.ndarray]:
    if row >= 6:
        time.sleep(0.5)  # the earlier chunks are written by then
        raise InputError(f"row {row} can't be made")
    return numbers(row)


def recorded(asked, row: int) -> dict[str, np.ndarray]:
    with asked.open("a") as file:
        file.write(f"{row}\n")
    return numbers(row)


def ask(folder, count: int) -> None:
    cached_arrays(folder, "key", range(count), numbers)


def test_of_several_processes_that_ask_at_once_all_get_the_arrays(tmp_path):
    processes = [multiprocessing.Process(target=ask, args=(tmp_path, 200)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert cached_arrays(tmp_path, "key", range(200), never)["even"].tolist() == [True, False] * 100


def test_rows_are_made_little_ahead_of_a_slow_disk(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    made = []
    with ThreadPoolExecutor(2) as pool:
        rows = arrays._rows(pool, lambda row: made.append(row) or {"row": row}, range(1000), 10)
        first = [next(rows)["row"] for _ in range(25)]
        time.sleep(0.1)  # enough for all, if they were asked for
        assert first == list(range(25)) and len(made) <= 30 + 10 * 4
        assert [row["row"] for row in rows] == list(range(25, 1000))


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"the cache .*file/cache can't be written: Not a directory"):
        cached_arrays(tmp_path / "file/cache", "key", range(10), numbers)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"needs .* GB in .*, where 0\.0 GB are free"):
        cached_arrays(tmp_path / "cache", "key", range(1000), numbers)


@pytest.mark.parametrize("world_size, batch_size", [(1, 6), (2, 3), (3, 2)])
def test_processes_together_see_what_one_does_in_whole_shuffles(world_size, batch_size):
    orders = [list(ShuffledBatches(10, batch_size, 5, 7, rank=r, world_size=world_size)) for r in range(world_size)]
    together = [list(chain(*batches)) for batches in zip(*orders, strict=True)]
    assert together == list(ShuffledBatches(10, 6, 5, 7))
    seen = list(chain(*together))
    assert all(sorted(seen[i : i + 10]) == list(range(10)) for i in (0, 10, 20))
    assert seen[:10] != seen[10:20] != list(range(10))
    assert together != list(ShuffledBatches(10, 6, 5, 8))


def test_an_order_can_start_in_its_middle():
    assert list(ShuffledBatches(10, 3, 9, 0, start=4)) == list(ShuffledBatches(10, 3, 9, 0))[4:]


def test_synthetic_faces_are_split_without_overlap_and_cached(tmp_path):
    source = SyntheticFaces(size=16, train=5, val=2, test=3, seed=1, cache=tmp_path)
    assert source.label_names == CELEBA_ATTRIBUTES and source.image_shape == (3, 16, 16)
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [5, 2, 3]
    for name, place, index in (("train", 4, 4), ("val", 0, 5), ("test", 2, 9)):
        image, attributes = make_face(1, index, 16)
        item = source.split(name)[place]
        assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), image)
        assert np.array_equal(item["labels"].numpy(), attributes)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 3  # splits
    with pytest.raises(InputError, match="at least 16"):
        SyntheticFaces(size=8, train=5, val=2, test=3, seed=1, cache=tmp_path)


@pytest.fixture
def measured_faces(tmp_path):
    """Makes a source of eleven faces with these labels."""

    def make(labels: str, **options) -> SyntheticFaces:
        options = {"size": 16, "train": 6, "val": 2, "test": 3, "seed": 1, "cache": tmp_path, **options}
        return SyntheticFaces(**options, labels=labels)

    return make


@pytest.mark.parametrize("kind, count, unit", [("values", 7, "deg"), ("points", 10, "of the width")])
def test_faces_have_numbers_for_labels_with_ranges_and_units(kind, count, unit, measured_faces):
    source = measured_faces(kind)
    assert len(source.label_names) == count and source.readout.units[source.label_names[0]] == unit
    assert tuple(source.readout.ranges) == tuple(source.readout.units) == source.label_names
    split = source.split("test")
    assert split.labels.shape == (3, count) and split.labels.dtype == np.float32
    expected = measure_face(1, 8, 16)
    assert np.array_equal(split[0]["labels"], getattr(expected, kind).reshape(-1))
    low, high = np.transpose(list(source.readout.ranges.values()))
    assert ((low <= split.labels) & (split.labels <= high)).all()
    assert isinstance(source.readout, Values) and source.readout.names == source.label_names


def test_faces_have_maps_of_regions_for_labels(measured_faces):
    source = measured_faces("regions", grid=4)
    assert len(source.label_names) == 7 * 4 * 4 and source.readout.names == source.label_names
    check_split(source, "val")
    labels = source.split("val").labels
    assert labels.shape == (2, 112) and labels.dtype == bool and (labels.reshape(2, 7, 16).sum(1) == 1).all()
    cells = coarse(measure_face(1, 6, 16).regions, 4)
    for place, name in enumerate(source.label_names):
        region, row, column = name.replace("[", ",").rstrip("]").split(",")
        assert labels[0, place] == (REGIONS[cells[int(row), int(column)]] == region)


def test_other_labels_have_a_place_of_their_own_in_the_cache(measured_faces, tmp_path):
    def kept() -> set:
        return {path for path in tmp_path.iterdir() if path.is_dir()}

    measured_faces("attributes").prepare()
    pictures = kept()
    for kind, options, more in (("values", {}, 1), ("points", {}, 2), ("regions", {}, 3), ("regions", {"grid": 4}, 4)):
        measured_faces(kind, **options).prepare()
        assert len(kept() - pictures) == 3 * more and pictures <= kept()  # for each split


def test_labels_that_say_where_something_is_are_mirrored_with_the_image(measured_faces, training):
    for kind in ("values", "points", "regions"):
        source = measured_faces(kind)
        data = ImageData(source, batch_size=6, flip=True)
        batch = next(iter(data.train_dataloader()))
        data.trainer = training
        plain, seen = batch["image"].float() / 127.5 - 1, data.on_after_batch_transfer(dict(batch), 0)
        mirrored = (seen["image"] != plain).flatten(1).any(1)
        assert mirrored.any() and not mirrored.all()
        expected = torch.where(mirrored[:, None], source.mirror(batch["labels"]), batch["labels"])
        assert torch.equal(seen["labels"], expected)


def test_mirrored_labels_are_those_of_the_mirrored_face(measured_faces):
    source = measured_faces("points")
    values = torch.arange(10.0)[None] / 10
    named = dict(zip(source.label_names, source.mirror(values)[0].tolist(), strict=True))
    assert named["left_eye_x"] == pytest.approx(1 - 0.2) and named["left_eye_y"] == pytest.approx(0.3)
    assert named["right_mouth_x"] == pytest.approx(1 - 0.6) and named["nose_x"] == pytest.approx(1 - 0.4)
    source = measured_faces("values")
    signs = dict(zip(source.label_names, source.mirror(torch.ones(1, 7))[0].tolist(), strict=True))
    assert [name for name, sign in signs.items() if sign < 0] == ["yaw", "tilt"]
    source = measured_faces("regions")
    cells = coarse(measure_face(1, 0, 16).regions[:, ::-1], 8)
    expected = (cells == np.arange(7)[:, None, None]).reshape(-1)
    assert np.array_equal(source.mirror(source.split("train")[0]["labels"]), expected)
    source = measured_faces("attributes")
    assert torch.equal(source.mirror(values), values)


def test_labels_that_faces_do_not_have_are_refused(measured_faces):
    with pytest.raises(InputError, match="are attributes, values, points, regions; got 'ages'"):
        measured_faces("ages")
    with pytest.raises(InputError, match="grid must divide the size of 20 pixels, got 8"):
        measured_faces("regions", size=20)


def test_digits_have_one_attribute_each_and_all_their_images():
    source = Digits()
    splits = [source.split(name) for name in ("train", "val", "test")]
    assert [len(split) for split in splits] == [1437, 180, 180]
    for split in splits:
        assert (split.labels.sum(1) == 1).all()
        assert split[0]["image"].shape == source.image_shape and split[0]["image"].dtype == torch.uint8
    assert max(split.images.max() for split in splits) == 255


def test_loaders_give_whole_batches_as_bytes_and_the_module_scales_them():
    data = ImageData(Digits(), batch_size=32, flip=False, batches=100)
    loader = data.train_dataloader()
    assert len(loader) == 100  # more than there are images: they are shuffled again and again
    batch = next(iter(loader))
    assert batch["image"].shape == (32, 1, 8, 8) and batch["image"].dtype == torch.uint8
    assert batch["labels"].shape == (32, 10)
    image = data.on_after_batch_transfer(batch, 0)["image"]
    assert image.min() == -1 and image.max() == 1
    assert sum(len(b["image"]) for b in data.val_dataloader()) == 180


@pytest.mark.parametrize("world_size, batch_size", [(2, 7), (3, 64), (4, 1000), (7, 13)])
def test_processes_together_see_each_held_out_image_once_in_as_many_batches(world_size, batch_size, training):
    seen, batches = [], set()
    for rank in range(world_size):
        data = ImageData(Digits(), batch_size=batch_size, flip=False)
        data.trainer, training.world_size, training.global_rank = training, world_size, rank
        own = [batch["index"].tolist() for batch in data.test_dataloader()]
        assert all(0 < len(batch) <= batch_size for batch in own)
        batches.add(len(own))
        seen += [index for batch in own for index in batch]
    assert sorted(seen) == list(range(180)) and len(batches) == 1


def test_a_few_images_of_a_validation_batch_are_looked_at_alone():
    asked, split = [], Digits().split("val")

    class Counted(Digits):
        def split(self, name):
            return self

        def __len__(self):
            return len(split)

        def __getitem__(self, index):
            asked.append(index)
            return split[index]

    data = ImageData(Counted(), batch_size=128, flip=False)
    few = data.validation_batch(1, 8)
    assert len(asked) == 8
    assert torch.equal(few["image"], data.validation_batch(1)["image"][:8])


def test_training_images_are_mirrored_at_random_and_others_never(training):
    data = ImageData(Digits(), batch_size=64, flip=True)
    batch = next(iter(data.train_dataloader()))
    plain = data.on_after_batch_transfer(dict(batch), 0)["image"]
    data.trainer = training
    seen = data.on_after_batch_transfer(dict(batch), 0)["image"]
    same = (seen == plain).flatten(1).all(1)
    mirrored = (seen == plain.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all() and 10 < mirrored.sum() < 54


@pytest.fixture
def training():
    progress = SimpleNamespace(current=SimpleNamespace(ready=3))
    return SimpleNamespace(
        training=True,
        global_rank=0,
        global_step=0,
        world_size=1,
        accumulate_grad_batches=1,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress)),
    )


def test_what_is_random_in_a_step_follows_from_its_number(training):
    augment = v2.RandomInvert(p=0.5)
    data = ImageData(Digits(), batch_size=64, flip=True, augment=augment, seed=5)
    data.trainer = training
    batch = next(iter(data.train_dataloader()))

    def seen(step: int, rank: int = 0) -> torch.Tensor:
        training.fit_loop.epoch_loop.batch_progress.current.ready, training.global_rank = step, rank
        return data.on_after_batch_transfer(data.on_before_batch_transfer(dict(batch), 0), 0)["image"]

    assert torch.equal(seen(3), seen(3))
    assert not torch.equal(seen(3), seen(4)) and not torch.equal(seen(3), seen(3, rank=1))
    plain = batch["image"].float() / 127.5 - 1
    pairs = zip(seen(3).flatten(1), plain.flatten(1), strict=True)
    inverted = [torch.allclose(now.sort().values, (-before).sort().values, atol=1e-5) for now, before in pairs]
    assert 10 < sum(inverted) < 54  # each image for itself


@pytest.mark.parametrize(
    "augment, found",
    [
        (lambda image: image / 255, r"torch.float32 \[1, 8, 8\]"),
        (lambda image: image[:, :4], r"torch.uint8 \[1, 4, 8\]"),
    ],
)
def test_an_augmentation_that_gives_no_bytes_of_the_same_shape_is_refused(augment, found):
    data = ImageData(Digits(), batch_size=4, flip=False, augment=augment)
    data.trainer = SimpleNamespace(training=True)
    batch = {"image": torch.zeros(4, 1, 8, 8, dtype=torch.uint8)}
    with pytest.raises(InputError, match=f"but gave {found}"):
        data.on_after_batch_transfer(batch, 0)


SCRIPT = """import multiprocessing
from spnn.data import SyntheticFaces

print("begun")
multiprocessing.set_start_method("spawn")
print(len(SyntheticFaces(16, 6, 1, 1, 0, "faces").split("train")), "made")
"""


@pytest.mark.slow
def test_a_script_without_a_guard_makes_its_images_where_processes_are_not_forked(tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    words = [sys.executable, "mine.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines() == ["begun", "6 made"], done.stderr
