"""How much memory 10,000 samples at 256 px take after they are drawn: stored, collected and measured.

    python -m benchmarks.memory                        # some minutes, 16 GB of disk
    python -m benchmarks.memory --count 1000

The samples are made up, as drawing them takes hours, and the operator is a small one. Only memory that the system can't
take back is counted, so images in mapped files aren't. The figure in brackets is the memory for all samples in float32.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from spnn.metrics import pixel_metrics
from spnn.operators import AveragePool
from spnn.outputs import outputs_of
from spnn.sampling.store import SampleStore

BATCH = 50


def held() -> int:
    """Bytes of anonymous memory of this process, which no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


class Peak(threading.Thread):
    """Watches the most memory that was held at any time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.most = held()
        self.start()

    def run(self) -> None:
        while True:
            self.most = max(self.most, held())
            time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    shape = (3, options.size, options.size)
    with tempfile.TemporaryDirectory() as folder:
        store = SampleStore(Path(folder, "samples"), [f"{i:05d}" for i in range(options.count)])
        store.open(OmegaConf.create(), "sample.yaml", {"seed": torch.arange(options.count)})
        batches = range(0, options.count, BATCH)
        peak = Peak()

        def said(what: str) -> None:
            whole = 4 * options.count * torch.Size(shape).numel()
            print(f"{what}: {(peak.most - peak.before) / 2**30:.2f} GiB at most (all samples: {whole / 2**30:.2f})")

        picture = F.interpolate(torch.rand(BATCH, 3, 8, 8) * 2 - 1, shape[1:])  # coarse, as PNGs of noise take long
        for first in batches:
            index = torch.arange(first, min(first + BATCH, options.count))
            store.add({"index": index, "image": picture[: len(index)]})
        said("drawn")
        images = store.collect()["image"]
        said("collected")
        outputs_of(AveragePool(8, shape), images)
        said("seen by an operator")
        pixel_metrics(images)
        said("measured")


if __name__ == "__main__":
    main()
