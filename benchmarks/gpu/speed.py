"""Steps of training and of back-projection compared with the literal evaluation, and the device's own rate."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.core import count_flops, matrix_product_rate, measure, sides
from benchmarks.gpu.check import PRECISIONS, Setting, network, precision
from benchmarks.literal import LiteralSPNN
from spnn.training.run import compile_parts

# Vendors' figures for peak operations per second, without sparsity, in float32, TF32 and bfloat16. The first key that
# is part of the device's name is used.
PEAKS = {
    "H100 PCIe": (51e12, 378e12, 756e12),
    "H100 NVL": (60e12, 418e12, 835e12),
    "H100": (67e12, 495e12, 989e12),
    "H200": (67e12, 495e12, 989e12),
    "A100": (19.5e12, 156e12, 312e12),
    "L40S": (91.6e12, 183e12, 362e12),
    "RTX 4090": (82.6e12, 82.6e12, 165e12),
    "RTX 3090": (35.6e12, 35.6e12, 71e12),
}
AS_COMMANDS_DO = [("NLBP step", "float32"), ("phase-1 step", "bf16"), ("phase-2 step", "bf16")]


def peak(kind: str, setting: Setting) -> tuple[float, str]:
    """The device's peak operations per second in a precision, and the source of that figure."""
    name = torch.cuda.get_device_name() if setting.device == "cuda" else ""
    for known, rates in PEAKS.items():
        if known in name:
            return rates[PRECISIONS.index(kind)], f"table: {known}"
    return measured_peak(kind, setting), "a matrix product"


def measured_peak(kind: str, setting: Setting) -> float:
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    with precision(kind, setting.device):
        return matrix_product_rate(setting.device, dtype, 128 if setting.tiny else None, setting.budget)


def rates(setting: Setting) -> Iterator[tuple[str, dict]]:
    """The peak rate, which shares refer to, and the rate of a large matrix product."""
    for kind in PRECISIONS:
        value, source = peak(kind, setting)
        measured = measured_peak(kind, setting)
        yield kind, {"peak_tflops": value / 1e12, "peak_from": source, "product_tflops": measured / 1e12}


def timed(step: Callable[[], object], batch: int, kind: str, setting: Setting) -> dict:
    with precision(kind, setting.device):
        for _ in range(2):  # for whatever is computed or compiled only once
            step()
        seconds, memory = measure(step, setting.budget, setting.device)
    return {"batch": batch, "ms": 1000 * seconds, "peak_mib": memory}


def problem(setting: Setting, size: int) -> tuple[LiteralSPNN, Tensor, Tensor]:
    """The literal network, with the same weights as ``network``, and images and outputs."""
    torch.manual_seed(0)
    with torch.device(setting.device):
        batch = setting.sizes[size]
        literal = LiteralSPNN(size).requires_grad_(False)
        return literal, torch.randn(batch, 3, size, size), torch.randn(batch, 40)


def steps(setting: Setting, size: int) -> Iterator[tuple[str, dict]]:
    """Milliseconds, peak memory, ratio to the literal side in the same precision, share of the peak rate."""
    literal, x, y = problem(setting, size)
    peaks = {kind: peak(kind, setting)[0] for kind in ("float32", "bf16")}
    for case, kind in [("phase-1 step", "float32"), ("phase-2 step", "float32"), *AS_COMMANDS_DO]:
        ours, theirs = sides(case, network(size, setting.device), literal, x, y)
        plain = timed(theirs, len(x), kind, setting)
        yield f"{case}, {kind}, literal", plain
        with precision(kind, setting.device):
            flops = count_flops(ours)
        found = timed(ours, len(x), kind, setting)
        share = flops / (found["ms"] / 1000) / peaks[kind]
        yield f"{case}, {kind}, ours", {**found, "ratio": plain["ms"] / found["ms"], "share_of_peak": share}


def compiled(setting: Setting, size: int) -> Iterator[tuple[str, dict]]:
    """The commands' steps, compiled, and the ratio to uncompiled steps. Compiling takes up to two minutes."""
    literal, x, y = problem(setting, size)
    for case, kind in AS_COMMANDS_DO[: 1 if setting.tiny else None]:
        torch._dynamo.reset()  # otherwise it stops compiling after several networks
        net = network(size, setting.device)
        step, _ = sides(case, net, literal, x, y)
        plain, start = timed(step, len(x), kind, setting), time.perf_counter()
        # A CPU takes a second to trace each sub-network, so compile only one.
        compile_parts(net.parts[1].r, "eager") if setting.tiny else compile_parts(net, True)
        found = timed(step, len(x), kind, setting)
        seconds = time.perf_counter() - start
        yield f"{case}, {kind}", {**found, "ratio": plain["ms"] / found["ms"], "seconds_to_compile": seconds}
