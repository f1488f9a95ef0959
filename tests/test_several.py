"""Several values for one label: a sweep, and samples at given shares."""

from collections import Counter

import pytest
import torch
from commands import fail, succeed
from safetensors.torch import load_file

from spnn.errors import InputError
from spnn.outputs import TrainingOutputs
from spnn.readout import Binary, Classes, ClassMap, Values
from spnn.sampling.several import at_shares, in_turn
from spnn.session import Session

ANGLES = Values(["yaw", "tilt"], ranges={"yaw": [-10, 30], "tilt": [0, 1]})


@pytest.fixture(scope="module")
def known() -> TrainingOutputs:
    y = torch.linspace(-1, 1, 1001)[:, None].expand(-1, 2)
    return TrainingOutputs.of(y, ANGLES.decode(y), ANGLES)


def test_a_name_alone_is_swept_from_low_to_high(known):
    name, values = in_turn("yaw", 3, ANGLES, known, quantile=0.9)
    assert name == "yaw" and values == pytest.approx([-6, 10, 26])
    assert in_turn({"yaw": [3, "low"]}, 5, ANGLES, None, 0.9) == ("yaw", [3, "low"])
    assert in_turn("class", 5, Classes(["cat", "dog"]), None, 0.9) == ("class", ["cat", "dog"])


@pytest.mark.parametrize(
    ("given", "count", "message"),
    [
        (None, 5, "nothing to sweep: give sweep.set=yaw"),
        ({"yaw": 3}, 5, "sets one label to a list of values"),
        ({"yaw": [1], "tilt": [2]}, 5, "sets one label to a list of values"),
        ({"yaw": []}, 5, "sets one label to a list of values"),
        ({"yaw": [1, 2, 1]}, 5, "each value once"),
        ("jaw", 5, "there is no value 'jaw'.*yaw"),
        ("yaw", 1, "whole number of at least 2, got 1"),
    ],
)
def test_a_sweep_of_nothing_is_refused(given, count, message, known):
    with pytest.raises(InputError, match=message):
        in_turn(given, count, ANGLES, known, 0.9)
    with pytest.raises(InputError, match="can't be swept by its name alone"):
        in_turn("map", 5, ClassMap(["sky", "sea"], 2, 2), None, 0.9)
    with pytest.raises(InputError, match="low and high of a isn't known"):
        in_turn("a", 5, Binary(["a"]), None, 0.9)


def test_values_are_shared_out_exactly():
    rows = at_shares(
        {"class": {"cat": "50%", "dog": 0.3, "owl": "20%"}, "hat": {"yes": 0.5, "no": 0.5}, "ink": 3}, 11, 0
    )
    counts = Counter(row["class"] for row in rows)
    assert (counts["cat"], counts["dog"], counts["owl"]) in ((6, 3, 2), (5, 3, 3), (5, 4, 2), (6, 4, 1))
    assert all(abs(counts[name] - share * 11) < 1 for name, share in (("cat", 0.5), ("dog", 0.3), ("owl", 0.2)))
    assert {row["ink"] for row in rows} == {3}
    assert len({(row["class"], row["hat"]) for row in rows}) > 3  # not the same images for both
    assert at_shares({"hat": "yes"}, 2, 0) == [{"hat": "yes"}] * 2
    for shares in ({"yes": 0.5, "no": 0.4}, {"yes": "half", "no": 0.5}, {"yes": True}, {"yes": 1.5, "no": -0.5}):
        with pytest.raises(InputError, match="shares of hat must be numbers that add up to 1"):
            at_shares({"hat": shares}, 4, 0)


def test_a_sweep_starts_each_image_from_one_noise_and_shows_a_row_for_each_value(run, tmp_path):
    words = ["sample.py", f"run={run.folder}", "sampler.steps=2", "count=2"]
    succeed(*words, "task=sweep", "sweep.set={digit_3: [no, 1.5]}", "guidance=none", f"folder={tmp_path}/a")
    images = load_file(tmp_path / "a/samples.safetensors")["image"]
    assert sorted(path.name for path in (tmp_path / "a").glob("0*.png")) == [
        f"0000{i}_digit_3_{value}.png" for i in (0, 1) for value in ("+1.5", "no")
    ]
    torch.testing.assert_close(images[::2], images[1::2])  # without guidance, nothing else is different
    assert not torch.equal(images[0], images[2])
    drawn = Session.load(run.folder).sweep(None, {"digit_3": ["no", 1.5]}, steps=10, values={"count": 2})
    assert drawn.problem.labels == ["digit_3 no", "digit_3 +1.5"]
    shares = "generate.set={digit_3: {yes: 50%, no: 50%}}"
    succeed(*words, "task=generate", shares, f"folder={tmp_path}/b")
    assert "add up to 1" in fail(*words, "task=generate", "generate.set={digit_3: {yes: 50%}}", f"folder={tmp_path}/c")
    assert not (tmp_path / "c").exists()


def test_edits_take_one_value_each(run, tmp_path):
    words = ["sample.py", f"run={run.folder}", "task=edit", f"folder={tmp_path}/a"]
    message = fail(*words, "edit.set={digit_3: {yes: 50%, no: 50%}}")
    assert "edit.set sets digit_3 to one value" in message and "task=sweep" in message and "Traceback" not in message
    with pytest.raises(InputError, match="sets one label to a list of values"):
        Session.load(run.folder).sweep(None, {"digit_3": 3})
