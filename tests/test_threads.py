"""The number of threads follows the cores that are free."""

import os

import pytest
import torch

from spnn import threads
from spnn.threads import FollowingThreads, free_cores


@pytest.fixture
def following(monkeypatch):
    """Four threads on four cores, of a machine whose clock and load a test sets."""
    clock, count = {"now": 1000.0, "load": 0.0}, {"threads": 4}
    monkeypatch.setattr(threads.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(os, "getloadavg", lambda: (clock["load"],) * 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: count["threads"])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: count.update(threads=number))
    return FollowingThreads(most=4), clock, count


def run(following, seconds: dict[int, float], windows: int = 1) -> None:
    """Make steps that take so long, by the number of threads, and let a minute pass after each window."""
    followed, clock, count = following
    for _ in range(windows):
        for _ in range(8):
            followed.step(seconds[count["threads"]])
        clock["now"] += 61


def test_fewer_are_kept_while_they_are_faster_and_all_come_back(following, caplog):
    caplog.set_level("INFO")
    count = following[2]
    run(following, {4: 0.1}, windows=3)
    assert count["threads"] == 4  # alone
    slow = {4: 1.0, 2: 0.5, 1: 0.3}
    run(following, slow, windows=2)
    assert count["threads"] == 2 and "2 threads instead of 4: a step takes 0.5 s instead of 1 s" in caplog.text
    run(following, slow, windows=2)
    assert count["threads"] == 1
    run(following, {4: 0.1, 2: 0.15, 1: 0.2}, windows=2)  # alone again
    assert count["threads"] == 4 and "4 threads instead of 1" in caplog.text


def test_what_is_no_faster_is_not_kept(following):
    count = following[2]
    run(following, {4: 0.1})
    run(following, {4: 0.5, 2: 0.6}, windows=2)
    assert count["threads"] == 4


def test_a_busy_machine_is_seen_without_a_faster_past(following):
    _, clock, count = following
    clock["load"] = 8.0
    run(following, {4: 1.0, 2: 0.5}, windows=2)
    assert count["threads"] == 2


def test_free_cores_are_those_that_others_leave(following):
    _, clock, _ = following
    for load, mine, free in ((0.0, 0, 4), (1.2, 0, 3), (4.0, 4, 4), (9.0, 0, 1), (6.0, 4, 2)):
        clock["load"] = load
        assert free_cores(mine) == free


def test_a_number_that_is_said_is_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    followed, before = FollowingThreads(), torch.get_num_threads()
    for _ in range(100):
        followed.step(1.0)
    assert followed.fixed and torch.get_num_threads() == before
