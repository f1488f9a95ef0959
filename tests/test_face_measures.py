"""Measures of rendered faces, held against the pictures."""

import math
from colorsys import rgb_to_hls

import numpy as np
import pytest
from PIL import Image

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.faces import make_face, rendering
from spnn.data.faces.canvas import Canvas, from_hsv
from spnn.data.faces.measures import (
    POINT_NAMES,
    POINTS,
    REGIONS,
    VALUES,
    coarse,
    face_points,
    face_regions,
    face_values,
    measure_face,
)
from spnn.data.faces.measures.regions import PASSES
from spnn.data.faces.measures.scene import make_scene

SIZE = 128
BACKGROUND, CLOTHES, SKIN, HAIR, EYES, GLASSES, HAT = range(len(REGIONS))


class Seen:
    """A face's picture, attributes and measures."""

    def __init__(self, index: int):
        self.index = index
        self.picture, attributes = make_face(7, index, SIZE)
        self.has = {name for name, on in zip(CELEBA_ATTRIBUTES, attributes, strict=True) if on}
        measures = measure_face(7, index, SIZE)
        self.values = dict(zip(VALUES, measures.values.tolist(), strict=True))
        self.points = dict(zip(POINT_NAMES, measures.points.tolist(), strict=True))
        self.regions = measures.regions

    def colour(self, x: float, y: float) -> np.ndarray:
        return self.picture[int(y * SIZE), int(x * SIZE)].astype(int)

    def mean_of(self, mask: np.ndarray) -> tuple[float, float]:
        """Hue in degrees and lightness in percent of a mean colour."""
        hue, lightness, _ = rgb_to_hls(*(self.picture[mask].mean(0) / 255))
        return 360 * hue, 100 * lightness


@pytest.fixture(scope="module")
def faces() -> list[Seen]:
    seen = [Seen(index) for index in range(60)]
    return [face for face in seen if "Blurry" not in face.has]


def inside(mask: np.ndarray, pixels: int = 2) -> np.ndarray:
    """The mask without its border."""
    for axis in (0, 1):
        for step in range(-pixels, pixels + 1):
            mask = mask & np.roll(mask, step, axis)
    return mask


def test_the_scene_is_the_one_that_is_drawn(monkeypatch):
    seen = []

    class Spy(Canvas):
        def __init__(self, image, *pose, **named):
            seen.append((*pose, *named.values()))
            super().__init__(image, *pose, **named)

    def spied(*inputs):
        seen.append(design(*inputs))
        return seen[-1]

    design = rendering.design
    monkeypatch.setattr(rendering, "Canvas", Spy)
    monkeypatch.setattr(rendering, "design", spied)
    for index in range(5):
        seen.clear()
        make_face(3, index)
        assert make_scene(3, index) == tuple(seen)


def test_all_that_is_drawn_has_a_region():
    assert set(PASSES) == set(rendering.LAYERS)


def test_measures_have_their_shapes_and_are_the_same_at_every_size():
    small, large = measure_face(3, 5, 20), measure_face(3, 5, 64)
    assert small.values.shape == (len(VALUES),) and small.values.dtype == np.float32
    assert small.points.shape == (len(POINT_NAMES), 2) and small.points.dtype == np.float32
    assert small.regions.shape == (20, 20) and small.regions.dtype == np.uint8
    assert np.array_equal(small.values, large.values) and np.array_equal(small.points, large.points)
    assert (coarse(large.regions, 20) == small.regions).mean() > 0.9
    assert tuple(POINTS) == tuple(f"{name}_{axis}" for name in POINT_NAMES for axis in "xy")
    with pytest.raises(ValueError, match="size must be at least 16"):
        measure_face(0, 0, 15)


def test_measures_lie_in_their_ranges():
    for index in range(300):
        for measures, found in ((VALUES, face_values(5, index)), (POINTS, face_points(5, index).reshape(-1))):
            for (name, measure), value in zip(measures.items(), found, strict=True):
                assert measure.low <= value <= measure.high, name


def test_eyes_lie_at_their_points_and_have_their_size(faces):
    for face in faces:
        for side, x in ((slice(SIZE // 2), "left_eye"), (slice(SIZE // 2, None), "right_eye")):
            assert face.regions[int(face.points[x][1] * SIZE), int(face.points[x][0] * SIZE)] == EYES
            if "Male" in face.has and "Eyeglasses" not in face.has:  # no lashes
                rows, columns = np.nonzero(face.regions[:, side] == EYES)
                width, height = (100 * (np.ptp(places) + 1) / SIZE for places in (columns, rows))
                assert -1 < width - face.values["eye_width"] < 2
                assert -1 < height - face.values["eye_height"] < 4  # the rim is above


def test_tilt_is_the_angle_between_the_eyes(faces):
    for face in faces:
        (left, top), (right, bottom) = face.points["left_eye"], face.points["right_eye"]
        assert math.degrees(math.atan2(bottom - top, right - left)) == pytest.approx(face.values["tilt"], abs=0.01)


def test_yaw_moves_the_features_between_the_edges_of_a_bald_head(faces):
    bald = [face for face in faces if "Bald" in face.has]
    assert len(bald) > 3
    for face in bald:
        row = int((face.points["left_eye"][1] + face.points["right_eye"][1]) / 2 * SIZE) - SIZE // 20  # above the ears
        head = np.flatnonzero(face.regions[row] != BACKGROUND)
        middle, width = (head[0] + head[-1] + 1) / 2 / SIZE, (np.ptp(head) + 1) / SIZE
        offset = (face.points["left_eye"][0] + face.points["right_eye"][0]) / 2 - middle
        assert math.degrees(math.asin(2 * offset / width)) == pytest.approx(face.values["yaw"], abs=2)


def test_the_mouths_corners_are_where_lipstick_ends(faces):
    painted = [face for face in faces if {"Wearing_Lipstick", "Big_Lips"} <= face.has]
    assert len(painted) > 5
    for face in painted:
        red, green, _ = np.moveaxis(face.picture.astype(int), -1, 0)
        lips = np.flatnonzero(((red > 180) & (green < 40)).any(0)) / SIZE
        assert face.points["left_mouth"][0] == pytest.approx(lips[0], abs=0.03)
        assert face.points["right_mouth"][0] == pytest.approx(lips[-1], abs=0.03)


def test_a_pointed_nose_ends_at_its_tip(faces):
    pointed = [face for face in faces if "Pointy_Nose" in face.has]
    assert len(pointed) > 5
    for face in pointed:
        x, y = face.points["nose"]
        assert face.colour(x - 0.015, y - 0.025).sum() > face.colour(x + 0.015, y - 0.025).sum() + 50


def test_lightness_and_hue_are_those_of_the_picture(faces):
    for face in faces:
        hue, lightness = face.mean_of(face.regions == BACKGROUND)
        assert hue == pytest.approx(face.values["background_hue"], abs=20)
        assert lightness == pytest.approx(face.values["background_lightness"], abs=12)
        if not face.has & {"Bald", "Straight_Hair", "Wavy_Hair"}:  # no strands of another colour
            top = inside(face.regions == HAIR)
            top[int(0.3 * SIZE) :] = False
            if top.any():
                assert face.mean_of(top)[1] == pytest.approx(face.values["hair_lightness"], abs=3)


def test_the_background_is_what_has_one_colour_a_row(faces):
    for face in faces:
        background = inside(face.regions == BACKGROUND)
        for row, shown in zip(face.picture.astype(int), background, strict=True):
            assert not shown.any() or np.ptp(row[shown], 0).max() <= 1


def test_regions_are_those_of_what_is_worn(faces):
    for face in faces:
        shown = set(np.unique(face.regions).tolist())
        assert (HAT in shown) == ("Wearing_Hat" in face.has)
        assert (GLASSES in shown) == ("Eyeglasses" in face.has)
        assert {BACKGROUND, CLOTHES, SKIN, HAIR, EYES} <= shown
        if "Wearing_Hat" not in face.has:
            assert (HAIR in face.regions[: int(0.25 * SIZE)]) == ("Bald" not in face.has)


def test_make_up_is_on_the_skin_and_a_tie_on_the_clothes(faces):
    made_up = [face for face in faces if "Heavy_Makeup" in face.has and "Eyeglasses" not in face.has]
    wearing_ties = [face for face in faces if "Wearing_Necktie" in face.has]
    assert len(made_up) > 3 and len(wearing_ties) > 3
    for face in made_up:
        violet = from_hsv(0.72 + 0.18 * make_scene(7, face.index)[0].accent, 0.8, 0.7)
        painted = face.regions[(face.picture == violet).all(-1)]
        assert len(painted) and (painted == SKIN).all()
    for face in wearing_ties:
        assert face.regions[-1, SIZE // 2] == CLOTHES


def test_a_cell_is_what_most_of_it_shows():
    regions = np.zeros((5, 5), np.uint8)
    regions[:2, :2], regions[0, 0], regions[3, 3] = SKIN, HAIR, HAT
    assert coarse(regions, 2).tolist() == [[SKIN, BACKGROUND], [BACKGROUND, BACKGROUND]]
    assert np.array_equal(coarse(regions, 5), regions)
    assert coarse(np.asarray(Image.fromarray(regions).resize((15, 15), 0)), 5).tolist() == regions.tolist()
    assert np.array_equal(coarse(face_regions(0, 0, 32), 32), face_regions(0, 0, 32))
