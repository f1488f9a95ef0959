"""Steps of training and of back-projection beside the literal evaluation, and the device's own rate."""

from collections.abc import Callable, Iterator

import torch

from benchmarks.core import count_flops, matrix_product_rate, measure, sides
from benchmarks.gpu.check import PRECISIONS, Setting, network, precision
from benchmarks.literal import LiteralSPNN
from spnn.training.run import compile_parts

# Peak operations per second as vendors give them, without sparsity, in float32, TF32 and bfloat16. The first name that
# the device's contains is taken.
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
    """The device's operations per second in a precision, and where that is from."""
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
    """The peak that shares are of, and what a large matrix product reaches."""
    for kind in PRECISIONS:
        value, source = peak(kind, setting)
        measured = measured_peak(kind, setting)
        yield kind, {"peak_tflops": value / 1e12, "peak_from": source, "product_tflops": measured / 1e12}


def steps(setting: Setting, size: int) -> Iterator[tuple[str, dict]]:
    """Milliseconds, peak memory, ratio to the literal side in the same precision, and share of the peak of each step.

    The commands guide in float32 and train in bfloat16, and those cases are compiled, too: last, as it takes longest.
    """
    batch, device = setting.sizes[size], setting.device
    torch.manual_seed(0)  # as network() does: both sides have the same weights
    with torch.device(device):
        theirs = LiteralSPNN(size)
    x, y = torch.randn(batch, 3, size, size, device=device), torch.randn(batch, 40, device=device)
    peaks = {kind: peak(kind, setting)[0] for kind in ("float32", "bf16")}
    literal, flops = {}, {}

    def timed(step: Callable[[], object], kind: str) -> dict:
        with precision(kind, device):
            for _ in range(2):  # what is computed only once, and compiled
                step()
            seconds, memory = measure(step, setting.budget, device)
        return {"batch": batch, "ms": 1000 * seconds, "peak_mib": memory}

    def beside(step: Callable[[], object], case: str, kind: str) -> dict:
        found = timed(step, kind)
        share = flops[case, kind] / (found["ms"] / 1000) / peaks[kind]
        return {**found, "ratio": literal[case, kind] / found["ms"], "share_of_peak": share}

    for case, kind in [("phase-1 step", "float32"), ("phase-2 step", "float32"), *AS_COMMANDS_DO]:
        ours, plain = sides(case, network(size, device), theirs.requires_grad_(False), x, y)
        found = timed(plain, kind)
        yield f"{case}, {kind}, literal", found
        literal[case, kind] = found["ms"]
        with precision(kind, device):
            flops[case, kind] = count_flops(ours)
        yield f"{case}, {kind}, ours", beside(ours, case, kind)
    for case, kind in AS_COMMANDS_DO[: 1 if setting.tiny else None]:
        torch._dynamo.reset()  # else it stops compiling after so many networks
        net = network(size, device)
        # A CPU traces each sub-network for a second, so one has to do.
        compile_parts(net.parts[1].r, "eager") if setting.tiny else compile_parts(net, True)
        ours, _ = sides(case, net, theirs, x, y)
        yield f"{case}, {kind}, compiled", beside(ours, case, kind)
