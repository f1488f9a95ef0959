"""Sampling with untrained weights, which cost the same as trained ones, and the memory that each guidance takes."""

import time
from collections.abc import Iterator

import torch

from benchmarks.core import start_memory
from benchmarks.gpu.check import Setting, network, unet
from spnn import Session

GUIDANCES = ("none", "nlbp", "gradient", "dps")


def draw(session: Session, count: int, steps: int, setting: Setting, **values: str) -> dict:
    """The time and memory to draw samples with the session, as ``sample.py`` draws them."""
    y = torch.randn(count, 40, generator=torch.Generator().manual_seed(0))
    memory, start = start_memory(setting.device), time.perf_counter()
    guidance = values.pop("guidance", "nlbp_gentle")
    options = {"trainer.accelerator": setting.device, **{f"trainer.{key}": value for key, value in values.items()}}
    session.solve(y, guidance=guidance, steps=steps, values=options)
    seconds = time.perf_counter() - start
    return {"count": count, "steps": steps, "seconds": seconds, "peak_mib": memory()}


def sampling(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Draw faces guided to forty numbers."""
    for size, count in setting.samples.items():
        session = Session(unet(size), network(size))
        for precision in ("32-true", "bf16-mixed"):
            draw(session, count, 1, setting, precision=precision)  # the first time, the device chooses its kernels
            yield f"{size} px, {precision}", draw(session, count, setting.steps, setting, precision=precision)


def gradients(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Two steps with each guidance; ``dps`` takes gradients through the prior, which keeps its activations."""
    for size, count in setting.samples.items():
        session = Session(unet(size), network(size))
        for guidance in GUIDANCES:
            found = draw(session, min(count, 1024 // size), 2, setting, precision="32-true", guidance=guidance)
            yield f"{size} px, {guidance}", found
