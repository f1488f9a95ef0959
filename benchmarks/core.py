"""How fast the library's core is compared with a literal evaluation of the formulas, in one run on one machine.

    python -m benchmarks.core                             # all of it, a quarter of an hour on two cores
    python -m benchmarks.core --sizes 256 --batches 1 4   # some of it
    python -m benchmarks.core --device cuda --precision bf16

Both sides have the same weights and are timed in turn; each time is the best of several. The literal side
(``benchmarks/literal.py``) builds ``W`` at each use, passes through the network once for every term, and computes the
right-inverse ("cycle") loss, which is zero by construction; its Adam is PyTorch's default, ours the fused one.
``floor`` is the rate of our side's arithmetic, as a share of the machine's measured rate of matrix products: at 100 %,
only fewer operations could be faster.
"""

import argparse
import ctypes
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as spnn.entry does; for both sides

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import literal
from spnn import SPNN
from spnn.training import InverseStage, TaskStage

SIZES = (32, 64, 256)
CASES = ("forward", "pinv", "NLBP step", "phase-1 step", "phase-2 step")


def measure(run: Callable[[], object], budget: float, device: str) -> tuple[float, float | None]:
    """The seconds of the fastest run, out of at least two and as many as the budget of seconds allows; and the MiB that
    a run needs beyond the memory at its start, None if the system doesn't tell. Call ``run`` once before, so that
    whatever is computed only once isn't measured.
    """
    times = []
    memory = start_memory(device)
    while len(times) < 2 or sum(times) < budget:
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times), memory()


def start_memory(device: str) -> Callable[[], float | None]:
    """Start to watch the peak of memory; call the result for how many MiB it is above the memory now."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        return lambda: (torch.cuda.max_memory_allocated() - before) / 2**20

    def status(key: str) -> float:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
        return int(line.split()[1]) / 2**10

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        resident = status("VmRSS")
    except OSError:
        return lambda: None
    return lambda: status("VmHWM") - resident


def inverse_flops(shape: tuple[int, ...], *_, **__) -> int:
    return 2 * shape[-1] ** 3


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of all convolutions, matrix products and matrix inversions."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.linalg_inv_ex: inverse_flops}) as counter:
        run()
    return counter.get_total_flops()


def matrix_product_rate(device: str, dtype: torch.dtype, n: int | None = None, budget: float = 1.0) -> float:
    """Operations per second of the machine's own matrix product, for [n, n] matrices; by default, large ones."""
    n = n or (2048 if device == "cpu" else 8192)
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    torch.mm(a, b)
    return 2 * n**3 / measure(lambda: torch.mm(a, b), budget, device)[0]


def train_step(optimizer: torch.optim.Optimizer, losses: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A whole training step as published: gradient, clipping, update. It returns the loss before the update."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = losses()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.detach()

    return step


# A rate of 0 leaves the weights unchanged, so that every step is the same; it costs the same as any other rate.
our_adam = partial(torch.optim.Adam, lr=0.0, fused=True)  # as in conf/stage/
literal_adam = partial(torch.optim.Adam, lr=0.0)


def sides(case: str, ours: SPNN, theirs: literal.LiteralSPNN, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """Our evaluation of a case, and the literal one; both return their result."""
    if case == "phase-1 step":
        attributes = (y > 0).to(y.dtype)
        stage = TaskStage(ours.requires_grad_(), reconstruction_weight=40, optimizer=our_adam)

        def literal_task() -> Tensor:
            parts = literal.task_losses(theirs, x, attributes)
            return parts["task"] + 40 * parts["reconstruction"] + 40 * parts["cycle"]

        return (
            train_step(our_adam(ours.parameters()), lambda: stage.losses(x, x, attributes)[1]["loss"]),
            train_step(literal_adam(theirs.requires_grad_().parameters()), literal_task),
        )
    if case == "phase-2 step":
        stage = InverseStage(ours, natural_weight=0.1, reconstruction_weight=40, optimizer=our_adam)
        auxiliary = [p for name, p in theirs.requires_grad_(False).named_parameters() if ".r." in name]

        def literal_inverse() -> Tensor:
            parts = literal.inverse_losses(theirs, x)
            return 0.1 * parts["natural"] + 40 * parts["reconstruction"] + parts["cycle"]

        return (
            train_step(our_adam(ours.pinv_parameters()), lambda: stage.losses(x)["loss"]),
            train_step(literal_adam([p.requires_grad_() for p in auxiliary]), literal_inverse),
        )
    no_grad = torch.no_grad()
    if case == "forward":
        return no_grad(partial(ours, x)), no_grad(partial(theirs, x))
    if case == "pinv":
        return no_grad(partial(ours.pinv, y)), no_grad(partial(theirs.pinv, y))
    with torch.no_grad():
        target = ours.complete_pinv(y)  # computed once per target, for any number of steps
    return no_grad(lambda: ours.back_project(x, target, 0.5)), no_grad(lambda: literal.back_project(theirs, x, y, 0.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 8))
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precision", default="fp32", choices=["fp32", "bf16"], help="bf16: autocast, on our side only"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="the least to measure each side for")
    options = parser.parse_args()
    device, half = options.device, options.precision == "bf16"
    autocast = partial(torch.autocast, device, torch.bfloat16) if half else nullcontext

    rate, rows = 0.0, []
    console = Console(width=110)
    for size in options.sizes:
        torch.manual_seed(0)
        theirs = literal.LiteralSPNN(size).to(device)
        for batch in options.batches:
            for case in options.cases:
                # The machine's best rate: other processes may be using it, too.
                rate = max(rate, matrix_product_rate(device, torch.bfloat16 if half else torch.float32))
                ours = SPNN.from_published(theirs.state_dict()).to(device)
                ours.requires_grad_(False), theirs.requires_grad_(False)
                x = torch.randn(batch, 3, size, size, device=device)
                y = torch.randn(batch, 40, device=device)
                ours_run, literal_run = sides(case, ours, theirs, x, y)
                ours_run = autocast()(ours_run) if half else ours_run
                expected, found = literal_run(), ours_run()
                error = ((found - expected).abs().max() / expected.abs().max()).item()
                slow, much = measure(literal_run, options.seconds, device)
                fast, little = measure(ours_run, options.seconds, device)
                rows.append((size, batch, case, slow, fast, count_flops(ours_run), much, little, error))
                console.print(f"{size} px, batch {batch}, {case}: {slow / fast:.1f}x", style="dim")

    table = Table(
        "pixels", "batch", "what", "literal", "ours", "ratio", "floor", "peak, literal", "peak, ours", "error"
    )
    for column in table.columns[3:]:
        column.justify = "right"
    for size, batch, case, slow, fast, flops, much, little, error in rows:
        table.add_row(
            str(size),
            str(batch),
            case,
            f"{slow:.3f} s",
            f"{fast:.3f} s",
            f"[bold]{slow / fast:.1f}x",
            f"{flops / rate / fast:.0%}",
            *("-" if mebibytes is None else f"{mebibytes:.0f} MiB" for mebibytes in (much, little)),
            f"{error:.0e}",
            end_section=case == options.cases[-1],
        )
    console.print(table)
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads on {device}, {options.precision}; "
        f"matrix products at {rate / 1e9:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    main()
