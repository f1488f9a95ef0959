"""Laws of the procedural faces."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.faces import make_face, render_face, sample_attributes

HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
BEARD_PARTS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")

# What switching one attribute changes at least: the mean absolute difference at 32 pixels, in grey levels.  A change of
# one of the 1,024 pixels by 102 levels in all channels counts 0.1; the smallest effects are those on closed lips.
LEAST_EFFECT = 0.15


def encode(names: set[str]) -> np.ndarray:
    return np.array([name in names for name in CELEBA_ATTRIBUTES])


def admissible_base(name: str) -> set[str]:
    """A plain face on which this attribute can be switched both on and off."""
    if name in BEARD_PARTS:
        return {"Male", "Young", "Brown_Hair"}
    base = {"Young", "No_Beard", "Brown_Hair"}
    if name in ("No_Beard", "Bald", "Receding_Hairline", "Wearing_Necktie"):
        base.add("Male")
    if name in (*HAIR_COLOURS, "Bald"):
        base.discard("Brown_Hair")
    return base


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(float) - second.astype(float)).mean())


@pytest.fixture(scope="module")
def population() -> dict[str, np.ndarray]:
    """The columns of 2,000 sampled attribute vectors by name."""
    rng = np.random.default_rng(7)
    rows = np.array([sample_attributes(rng) for _ in range(2000)])
    return dict(zip(CELEBA_ATTRIBUTES, rows.T, strict=True))


def test_there_are_forty_different_attributes():
    assert len(CELEBA_ATTRIBUTES) == len(set(CELEBA_ATTRIBUTES)) == 40


def test_a_face_is_determined_by_seed_and_index():
    image, attributes = make_face(3, 5)
    again, attributes_again = make_face(3, 5)
    assert np.array_equal(image, again)
    assert np.array_equal(attributes, attributes_again)


@pytest.mark.parametrize("seed, index", [(3, 6), (4, 5), (5, 3)])
def test_another_seed_or_index_gives_another_face(seed: int, index: int):
    assert distance(make_face(3, 5)[0], make_face(seed, index)[0]) > 1.0


def test_pictures_are_those_of_earlier_versions():
    before = np.asarray(Image.open(Path(__file__).parent / "data/faces.png"))
    assert distance(np.concatenate([make_face(0, index)[0] for index in range(8)], 1), before) < 0.5


def test_attributes_do_not_determine_the_image():
    attributes = encode({"Young", "No_Beard", "Brown_Hair"})
    first, second = (render_face(attributes, np.random.default_rng(seed)) for seed in (0, 1))
    assert distance(first, second) > 5.0


@pytest.mark.parametrize("size", [16, 20, 32, 64, 100, 128, 256])
def test_pictures_have_the_size_asked_for(size: int):
    image, attributes = make_face(0, 0, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert attributes.shape == (40,)
    assert attributes.dtype == np.bool_


@pytest.mark.parametrize("name", CELEBA_ATTRIBUTES)
def test_every_attribute_shows(name: str):
    base = admissible_base(name)
    for seed in range(5):
        off, on = (
            render_face(encode(names), np.random.default_rng(seed)).astype(float)
            for names in (base - {name}, base | {name})
        )
        assert distance(off, on) >= LEAST_EFFECT


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("size", [64, 128, 256])
def test_it_is_the_same_face_at_every_size(index: int, size: int):
    small, attributes = make_face(11, index)
    large, attributes_of_large = make_face(11, index, size)
    assert np.array_equal(attributes, attributes_of_large)
    reduced = np.asarray(Image.fromarray(large).reduce(size // 32))
    assert distance(small, reduced) < 6.0


def test_every_attribute_is_neither_rare_nor_universal(population: dict[str, np.ndarray]):
    rates = {name: column.mean() for name, column in population.items()}
    assert all(0.06 <= rate <= 0.94 for rate in rates.values()), rates


def test_women_have_no_beard(population: dict[str, np.ndarray]):
    women = ~population["Male"]
    assert population["No_Beard"][women].all()
    assert not any(population[part][women].any() for part in BEARD_PARTS)


def test_a_part_of_a_beard_excludes_no_beard(population: dict[str, np.ndarray]):
    assert not any((population[part] & population["No_Beard"]).any() for part in BEARD_PARTS)


def test_hair_has_at_most_one_colour_and_one_texture(population: dict[str, np.ndarray]):
    assert sum(population[colour].astype(int) for colour in HAIR_COLOURS).max() == 1
    assert not (population["Straight_Hair"] & population["Wavy_Hair"]).any()


def test_the_bald_have_no_hair(population: dict[str, np.ndarray]):
    bald = population["Bald"]
    for name in (*HAIR_COLOURS, "Bangs", "Straight_Hair", "Wavy_Hair", "Receding_Hairline"):
        assert not (bald & population[name]).any(), name


def test_bangs_and_hats_hide_no_receding_hairline(population: dict[str, np.ndarray]):
    hidden = population["Bangs"] | population["Wearing_Hat"]
    assert not (hidden & population["Receding_Hairline"]).any()


@pytest.mark.parametrize(
    "name, given",
    [
        ("Double_Chin", "Chubby"),
        ("Wearing_Lipstick", "Heavy_Makeup"),
        ("Wearing_Necktie", "Male"),
        ("Bald", "Male"),
        ("Mouth_Slightly_Open", "Smiling"),
        ("Attractive", "Young"),
    ],
)
def test_some_attributes_go_together(population: dict[str, np.ndarray], name: str, given: str):
    column, condition = population[name], population[given]
    assert column[condition].mean() > 1.3 * column[~condition].mean()


@pytest.mark.parametrize(
    "name, given",
    [
        ("Gray_Hair", "Young"),
        ("Heavy_Makeup", "Male"),
        ("Wearing_Earrings", "Male"),
        ("Wearing_Lipstick", "Male"),
        ("Wearing_Necklace", "Male"),
    ],
)
def test_some_attributes_avoid_each_other(population: dict[str, np.ndarray], name: str, given: str):
    column, condition = population[name], population[given]
    assert column[condition].mean() < 0.4 * column[~condition].mean()


@pytest.mark.parametrize("shape", [(39,), (41,), (1, 40), ()])
def test_attributes_of_a_wrong_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"attributes must have shape \(40,\)"):
        render_face(np.zeros(shape, dtype=bool), np.random.default_rng(0))


@pytest.mark.parametrize("size", [15, 0, -32])
def test_a_size_too_small_is_refused(size: int):
    with pytest.raises(ValueError, match="size must be at least 16"):
        make_face(0, 0, size)
