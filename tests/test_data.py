import numpy as np
import pytest
import torch
from PIL import Image

from spnn.data import CELEBA_ATTRIBUTES, AttributeData, Digits, SyntheticFaces
from spnn.data.arrays import Arrays, cached_arrays
from spnn.data.celeba import write_synthetic_celeba
from spnn.data.faces import make_face
from spnn.errors import InputError


@pytest.fixture
def small() -> Arrays:
    return Arrays(np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3), np.eye(2, dtype=bool))


def test_arrays_are_made_once_and_then_read_from_the_cache(tmp_path, small):
    made = cached_arrays(tmp_path, "key", lambda: small)
    read = cached_arrays(tmp_path, "key", lambda: pytest.fail("made twice"))
    for a, b, c in zip(made, read, small, strict=True):
        assert isinstance(b, np.memmap)
        assert np.array_equal(a, c) and np.array_equal(b, c)
    other = Arrays(small.images + 1, small.attributes)
    assert cached_arrays(tmp_path, "another key", lambda: other).images[0, 0, 0, 0] == 1


def test_an_interrupted_making_leaves_nothing_that_looks_whole(tmp_path, small):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_arrays(tmp_path, "key", interrupted)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "unfinished-of-a-killed-process").mkdir()
    assert np.array_equal(cached_arrays(tmp_path, "key", lambda: small).images, small.images)


def test_of_two_makers_at_once_both_read_the_first_ones_arrays(tmp_path, small):
    def slow():
        cached_arrays(tmp_path, "key", lambda: small)  # another process finishes in the meantime
        return Arrays(small.images + 1, small.attributes)

    assert np.array_equal(cached_arrays(tmp_path, "key", slow).images, small.images)


def test_synthetic_faces_are_split_without_overlap_and_cached(tmp_path):
    source = SyntheticFaces(size=16, train=5, val=2, test=3, seed=1, cache=tmp_path)
    assert source.attributes == CELEBA_ATTRIBUTES and source.image_shape == (3, 16, 16)
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [5, 2, 3]
    for name, place, index in (("train", 4, 4), ("val", 0, 5), ("test", 2, 9)):
        image, attributes = make_face(1, index, 16)
        item = source.split(name)[place]
        assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), image)
        assert np.array_equal(item["attributes"].numpy(), attributes)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="at least 16"):
        SyntheticFaces(size=8, train=5, val=2, test=3, seed=1, cache=tmp_path)


def test_digits_have_one_attribute_each_and_all_their_images():
    source = Digits()
    splits = [source.split(name) for name in ("train", "val", "test")]
    assert [len(split) for split in splits] == [1437, 180, 180]
    for split in splits:
        assert (split.arrays.attributes.sum(1) == 1).all()
        assert split[0]["image"].shape == source.image_shape and split[0]["image"].dtype == torch.uint8
    assert max(split.arrays.images.max() for split in splits) == 255


def test_loaders_give_whole_batches_as_bytes_and_the_module_scales_them():
    data = AttributeData(Digits(), batch_size=32, flip=False, steps=100)
    loader = data.train_dataloader()
    assert len(loader) == 100  # more than there are images: they are shuffled again and again
    batch = next(iter(loader))
    assert batch["image"].shape == (32, 1, 8, 8) and batch["image"].dtype == torch.uint8
    assert batch["attributes"].shape == (32, 10)
    image = data.on_after_batch_transfer(batch, 0)["image"]
    assert image.min() == -1 and image.max() == 1
    assert sum(len(b["image"]) for b in data.val_dataloader()) == 180


def test_training_images_are_mirrored_at_random_and_others_never(training):
    data = AttributeData(Digits(), batch_size=64, flip=True)
    batch = next(iter(data.train_dataloader()))
    plain = data.on_after_batch_transfer(dict(batch), 0)["image"]
    data.trainer = training
    seen = data.on_after_batch_transfer(dict(batch), 0)["image"]
    same = (seen == plain).flatten(1).all(1)
    mirrored = (seen == plain.flip(-1)).flatten(1).all(1)
    assert (same | mirrored).all() and 10 < mirrored.sum() < 54


@pytest.fixture
def training():
    class Training:
        training = True

    return Training()


def test_faces_are_written_as_celeba_is_laid_out(tmp_path):
    write_synthetic_celeba(tmp_path / "celeba", train=3, val=1, test=2, seed=4)
    lines = (tmp_path / "celeba/list_attr_celeba.txt").read_text().splitlines()
    assert lines[0] == "6" and tuple(lines[1].split()) == CELEBA_ATTRIBUTES
    name, *values = lines[2].split()
    face, attributes = make_face(4, 0, 178)
    assert name == "000001.jpg" and values == ["1" if value else "-1" for value in attributes]
    image = Image.open(tmp_path / "celeba/img_align_celeba/000001.jpg")
    assert image.size == (178, 218)
    crop = np.asarray(image.crop((0, 20, 178, 198))).astype(float)
    assert abs(crop - face).mean() < 5  # but for JPEG
    partition = (tmp_path / "celeba/list_eval_partition.txt").read_text().splitlines()
    assert [line.split()[1] for line in partition] == list("000122")
    with pytest.raises(InputError, match="not empty"):
        write_synthetic_celeba(tmp_path / "celeba", 1, 1, 1)
