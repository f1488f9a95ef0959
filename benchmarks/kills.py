"""Kill a training again and again at random moments, resume it each time, and compare its weights with those of an
undisturbed run, bit for bit. When a training gets to its end, another one starts, until there were enough kills.

    python -m benchmarks.kills --kills 50

It takes some twenty minutes on two cores. Each fault is listed; the exit status is 1 if there were any.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

STAGES = ("task", "inverse", "prior", "judge")
RUN = (
    *(
        sys.executable,
        "train.py",
        "experiment=digits",
        "trainer.precision=32-true",
        "callbacks.last.every_n_train_steps=10",
    ),
    "stage.prior.trainer.max_steps=300",
)


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*RUN, f"folder={folder}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # a different number of threads rounds sums differently
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # shells ignore it for background jobs
    )


def finished(folder: Path) -> bool:
    return all((folder / stage / "weights.safetensors").exists() for stage in STAGES)


def disturbed(
    folder: Path, sent: Counter, kills: int, generator: random.Random, seconds: tuple[float, float]
) -> list[str]:
    """Train with interruptions, as long as fewer than ``kills`` signals were ``sent``; return what went wrong."""
    faults = []
    while not finished(folder):
        words = ("resume=true",) if (folder / "config.yaml").exists() else ()
        process, killed = start(folder, *words), False
        if sent.total() < kills:
            try:  # sometimes while it starts, sometimes while it trains
                process.wait(generator.uniform(*seconds))
            except subprocess.TimeoutExpired:
                name = generator.choice(("SIGKILL", "SIGTERM", "SIGINT"))
                process.send_signal(getattr(signal, name))
                sent[name] += 1
                killed = True
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:  # Python can lose a KeyboardInterrupt while it imports
                    process.kill()
        printed, _ = process.communicate(timeout=1200)
        expected = (
            "Traceback" not in printed or "KeyboardInterrupt" in printed
        )  # a traceback of Python's own, before the training begins
        if process.returncode not in (0, 1, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT) or not expected:
            faults.append(f"after {sent.total()} kills, exit status {process.returncode}: {printed[-600:]}")
        if process.returncode and not killed:
            faults.append(f"doesn't go on: {printed[-600:]}")
            break
    return faults


def differing(folder: Path, reference: Path) -> list[str]:
    """The weights (bit for bit) and metrics that differ between two runs."""
    found = []
    for stage in STAGES:
        one, other = (load_file(run / stage / "weights.safetensors") for run in (folder, reference))
        found += [f"{stage}: {name}" for name in other if not torch.equal(one[name], other[name])]
    one, other = (json.loads((run / "metrics.json").read_text()) for run in (folder, reference))
    return found + [f"metrics of {stage}" for stage in STAGES if one[stage] != other[stage]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kills_"))
    reference = place / "reference"
    began = time.perf_counter()
    undisturbed = start(reference)
    while undisturbed.poll() is None and not (reference / "config.yaml").exists():
        time.sleep(0.1)
    begins = time.perf_counter() - began  # until then there is nothing to lose
    printed, _ = undisturbed.communicate()
    if undisturbed.returncode:
        raise SystemExit(printed)
    whole = time.perf_counter() - began
    print(f"undisturbed: {whole:.0f} s, {begins:.0f} s of them until it begins", flush=True)
    ends = begins + 2.5 * (whole - begins) / options.kills  # so that most kills happen during the training
    sent, faults, generator, trainings = Counter(), [], random.Random(options.seed), 0
    while sent.total() < options.kills and not faults:
        trainings += 1
        folder = place / f"disturbed_{trainings}"
        faults += disturbed(folder, sent, options.kills, generator, (0.8 * begins, ends))
        faults += differing(folder, reference) if finished(folder) else [f"{folder} wasn't finished"]
        kinds = ", ".join(f"{count} {name}" for name, count in sent.items())
        print(f"after {trainings} trainings: {kinds}", flush=True)
    for fault in faults:
        print(f"FAULT  {fault}")
    if faults:
        print(f"kept in {place}")
        return 1
    print(f"killed {sent.total()} times, and each training has the same weights and metrics, bit for bit")
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
