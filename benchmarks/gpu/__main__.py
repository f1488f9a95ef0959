"""Check exactness and speed on a CUDA card, with one JSON file of results: laws, steps, sampling, data, memory.

    python -m benchmarks.gpu                                   # at most eight minutes
    python -m benchmarks.gpu --tiny --output /tmp/tiny.json    # the same with tiny networks; on any CPU, in seconds

If a check fails, it is reported and the next one runs; the exit status is then 1.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.check import REPOSITORY, Check, Setting
from benchmarks.gpu.checks import checks
from benchmarks.gpu.process import Worker
from spnn.saving import save_json, to_json

WHOLE = 470.0  # seconds, after which all checks stop


def failures(rows: dict[str, dict]) -> list[str]:
    """The figures that are out of bounds, by name."""
    figures = [(f"{row}: {name}", value) for row, found in rows.items() for name, value in found.items()]
    return [name for name, value in figures if isinstance(value, dict) and not value.get("ok", True)]


def commit() -> str | None:
    """The commit of the code, with ``-dirty`` if there are changes; None if there is no repository."""
    words = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() or None


def say(check: str, row: str, figures: dict) -> None:
    """Print a row."""
    print(f"{check}: {row}: {to_json(figures)}", flush=True)


def main(arguments: Sequence[str] | None = None, further: Sequence[Check] = ()) -> int:
    """Run the checks, ``further`` ones first; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu.json"), help="the file, which is replaced")
    parser.add_argument("--tiny", action="store_true", help="networks and images so small that a CPU is enough")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--commit", default=commit(), help="of the code, where it is no repository")
    options = parser.parse_args(arguments)
    if options.device == "cpu" and not options.tiny:
        parser.error("there is no CUDA device here, and a CPU takes too long: --tiny computes small sizes on it")
    setting, began = Setting(options.device, options.tiny), time.monotonic()
    parts: dict[str, dict] = {}
    report = {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU",
        "torch": torch.__version__,
        "commit": options.commit,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "tiny": options.tiny,
        "sizes": {"training": setting.sizes, "sampling": setting.samples, "steps": setting.steps},
        "parts": parts,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)

    with Worker(setting) as worker:
        for check in (*further, *checks(setting)):
            start, deadline = time.monotonic(), began + WHOLE
            said = partial(say, check.name)
            rows, error = worker.run(check, deadline, said) if start < deadline else ({}, "no time was left for it.")
            if error is None and (outside := failures(rows)):
                error = f"out of bounds: {'; '.join(outside)}"
            taken = time.monotonic() - start
            parts[check.name] = {"ok": error is None, "error": error, "seconds": taken, "rows": rows}
            print(f"{check.name}: {'FAILED, ' + error if error else 'ok'} ({taken:.1f} s)", flush=True)
            failed = [name for name, part in parts.items() if not part["ok"]]
            state = {"ok": not failed, "failed": failed, "seconds": time.monotonic() - began}
            save_json({**state, **report}, options.output)
    print(f"{len(parts)} checks, failed: {', '.join(failed) or 'none'}; {options.output}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
