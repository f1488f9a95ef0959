"""The script for a card, with tiny networks on the CPU: whatever a check does, all others are in the file."""

import json
import math
import os
import time

import pytest

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.check import Check, Setting, within
from benchmarks.gpu.checks import checks


def raises(setting):
    yield "before", {"figure": 1.0}
    raise ValueError("spoilt")


def hangs(setting):
    yield "before", {"figure": 1.0}
    time.sleep(600)


def dies(setting):
    yield "before", {"figure": 1.0}
    os._exit(3)


def misses(setting):
    yield "law", {"g_pinv": within(math.nan, 1e-4)}


FAILING = {
    "raises": (raises, "ValueError: spoilt"),
    "hangs": (hangs, "its time was over"),
    "dies": (dies, "exit code 3"),
    "misses": (misses, "out of bounds: law: g_pinv"),
}


def numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    return [] if isinstance(value, bool | str) else [value]


@pytest.mark.nightly
def test_failing_checks_are_said_and_all_others_have_finite_figures(tmp_path):
    further = [Check(name, rows, 2) for name, (rows, _) in FAILING.items()]
    assert main(["--tiny", "--device=cpu", f"--output={tmp_path}/new/gpu.json"], further) == 1
    report = json.loads((tmp_path / "new/gpu.json").read_text())
    parts = report["parts"]
    assert not report["ok"] and report["failed"] == list(FAILING)
    for name, (_, error) in FAILING.items():
        assert not parts[name]["ok"] and error in parts[name]["error"]
    assert parts["hangs"]["rows"] == {"before": {"figure": 1.0}}
    assert [*parts] == [*FAILING, *(check.name for check in checks(Setting("cpu", tiny=True)))]
    for name in set(parts) - set(FAILING):
        assert parts[name]["ok"] and parts[name]["rows"], parts[name]
        assert all(math.isfinite(number) for number in numbers(parts[name]["rows"]))
    assert {"device", "torch", "commit", "date", "sizes", "seconds"} <= set(report)
    assert [*parts["compiled steps"]["rows"]] == ["NLBP step, float32"]


def test_the_checks_of_a_card_take_less_than_eight_minutes():
    assert sum(check.seconds for check in checks(Setting("cuda"))) < 480
