"""Whether loading data keeps up with training, both measured in images a second."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.core import measure, sides
from benchmarks.data import write_photographs
from benchmarks.gpu.check import Setting, network, precision
from benchmarks.literal import LiteralSPNN
from spnn.data import ImageFolder
from spnn.data.module import ImageData, scale_to_unit_range


def data(setting: Setting) -> Iterator[tuple[str, dict]]:
    """How fast readers bring images to the device, decoded or from the cache, compared with a step of phase 1."""
    size = max(setting.sizes)
    batch = setting.sizes[size]
    step = step_rate(size, batch, setting)
    yield "phase-1 step, bf16", {"batch": batch, "images_per_second": step}
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), 10 if setting.tiny else 48, 4 * size)
        for name, cache in (("decoding", False), ("cache", True)):
            source = ImageFolder(folder, size=size, cache=cache, cache_folder=Path(folder) / "cache")
            rate = loading_rate(source, batch, setting)
            yield name, {"from_px": 4 * size, "images_per_second": rate, "times_the_step": rate / step}


def step_rate(size: int, batch: int, setting: Setting) -> float:
    x, y = (torch.randn(batch, *shape, device=setting.device) for shape in ((3, size, size), (40,)))
    with torch.device(setting.device):
        literal = LiteralSPNN(size)
    ours, _ = sides("phase-1 step", network(size, setting.device), literal, x, y)
    with precision("bf16", setting.device):
        ours()
        return batch / measure(ours, setting.budget, setting.device)[0]


def loading_rate(source: ImageFolder, batch: int, setting: Setting) -> float:
    """Images a second that a training's loader brings to the device, once its processes are running."""
    source.prepare()
    workers = 0 if setting.tiny else min(8, os.cpu_count())
    batches = iter(ImageData(source, batch, batches=100_000, num_workers=workers).train_dataloader())
    next(batches)
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < 8 * setting.budget:
        count += len(scale_to_unit_range(next(batches)["image"].to(setting.device, non_blocking=True)))
    if setting.device == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - start)
