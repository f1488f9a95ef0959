"""Choose the number of threads: as many as there are cores that are really free.

PyTorch's threads wait for each other at every small operation. If another process keeps a core busy, each of these
waits lasts until the system gives a core back, and steps take many times as long as with fewer threads. If
``OMP_NUM_THREADS`` is set, the number of threads is left alone.
"""

import logging
import os
import time

import torch

__all__ = ["FollowingThreads", "free_cores"]

log = logging.getLogger(__name__)

_ALL = torch.get_num_threads()  # before anything has changed it
_WINDOW = 8  # steps that are averaged
_SLOW = 1.8  # if steps take this many times as long as the fastest so far, another number is tried
_PATIENCE = 60  # seconds from one trial to the next


def free_cores(mine: int = 0) -> int:
    """The number of cores that this process may use and others leave free, averaged over the last minute; at least 1.

    Arguments:
        mine: The number of this process's threads that were busy in that minute.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    elsewhere = (os.cpu_count() or 1) - allowed  # cores that only others may use
    return max(1, allowed - round(max(0.0, load - mine - elsewhere)))


class FollowingThreads:
    """Changes PyTorch's number of threads while steps are made. If steps become much slower, or other processes keep
    the cores busy, it tries fewer threads; later it tries all of them again. It keeps a change only if that is faster.

    Arguments:
        most: The largest number; None for PyTorch's own number, or to change nothing if ``OMP_NUM_THREADS`` is set.
    """

    def __init__(self, most: int | None = None):
        self.fixed = most is None and "OMP_NUM_THREADS" in os.environ
        self.count = torch.get_num_threads()
        self.most, self.seconds, self.steps = most or _ALL, 0.0, 0
        self.fastest: float | None = None
        """Seconds per step in the fastest window."""
        self.before: tuple[int, float] | None = None
        """The number of threads and the seconds per step that a trial is compared with."""
        self.tried = -float("inf")

    def step(self, seconds: float) -> None:
        """Count a step that took this long, and change the number of threads if need be."""
        if self.fixed or self.most == 1:
            return
        self.seconds, self.steps = self.seconds + seconds, self.steps + 1
        if self.steps < _WINDOW:
            return
        now, self.seconds, self.steps = self.seconds / self.steps, 0.0, 0
        if self.before is not None:  # a trial has ended
            (count, then), self.before = self.before, None
            if now > then:
                self._use(count)
            else:
                log.info(
                    "%d threads instead of %d: a step takes %.2g s instead of %.2g s", self.count, count, now, then
                )
            return
        self.fastest = min(now, self.fastest or now)
        if time.monotonic() - self.tried > _PATIENCE:
            slow = now > _SLOW * self.fastest
            if self.count > 1 and (slow or free_cores(self.count) < self.count):
                self._try(max(1, self.count // 2), now)
            elif self.count < self.most:
                self._try(self.most, now)

    def _try(self, count: int, now: float) -> None:
        self.before, self.tried = (self.count, now), time.monotonic()
        self._use(count)

    def _use(self, count: int) -> None:
        self.count = count
        torch.set_num_threads(count)
