"""Settings while a command, or a session's method, is at work: the device, threads, full precision, and a quiet
Lightning."""

import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from omegaconf import DictConfig

from spnn.threads import free_cores

__all__ = ["at_work", "settings", "working_device"]

# These warnings don't apply to batches that are read by one indexing of an array, or to a log that is continued, or the
# config already makes the point better.
_IRRELEVANT_WARNINGS = [
    ".*isinstance.treespec, LeafSpec.*",
    ".*does not have many workers.*",
    ".*number of training batches .* is smaller than the logging.*",
    ".*your dataloader is not resumable.*",
    ".*Experiment logs directory.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*available but not used.*",
]
_TALKATIVE = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda")  # tips, lists of devices

_device: ContextVar[torch.device | None] = ContextVar("device", default=None)


def working_device() -> torch.device:
    """The device that this process computes on: that of the command's trainer, or else the fastest device."""
    return _device.get() or _device_of("auto", "auto")


def _device_of(accelerator: str, devices: Any) -> torch.device:
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or accelerator == "cpu":
        return torch.device("cpu")
    if isinstance(devices, str) and "," in devices:  # Lightning's way to write a list: "1," is the second device only
        devices = [int(device) for device in devices.split(",") if device.strip()]
    rank = int(os.environ.get("LOCAL_RANK", 0))
    listed = not isinstance(devices, int | str) and devices is not None
    return torch.device(found.type, devices[rank] if listed else rank)


@contextmanager
def settings(trainer: DictConfig | None = None) -> Iterator[None]:
    """Compute on the device of a trainer's config, without Lightning's tips and irrelevant warnings. If full precision
    is asked for, TF32 is off, as its rounding would break ``g g† = identity``. Everything is restored at the end."""
    token = _device.set(None if trainer is None else _device_of(trainer.accelerator, trainer.devices))
    threads = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(threads, free_cores()))
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), _full_precision():
            for message in _IRRELEVANT_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        _device.reset(token)
        torch.set_num_threads(threads)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def at_work(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of a command's config so that it runs with the :func:`settings` of its trainer."""

    @functools.wraps(function)
    def within(config: DictConfig, *arguments: Any, **options: Any) -> Any:
        with settings(config.trainer):
            return function(config, *arguments, **options)

    return within


@contextmanager
def _full_precision() -> Iterator[None]:
    backends = torch.backends
    try:
        before = backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:  # somebody has set PyTorch's newer options, and it refuses to mix these with them
        parts = backends.cudnn.conv, backends.cuda.matmul  # type: ignore[attr-defined]  # torch makes it of a string
        options = [(part, part.fp32_precision) for part in parts]
        try:
            for part, _ in options:
                part.fp32_precision = "ieee"
            yield
        finally:
            for part, precision in options:
                part.fp32_precision = precision
        return
    try:
        backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])
