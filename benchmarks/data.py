"""Images per second: the readers' decoding and their cache, compared with the plain way.

    python -m benchmarks.data                    # 1024x1024 JPEGs to 256 px, about a minute

The plain way opens, decodes and resizes each file with Pillow in each epoch. All three ways give batches of uint8
tensors in random order, in one process without loading processes, which would speed up all of them equally. The images
are rendered faces with camera noise (flat areas would decode too fast), saved at 95 % quality.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset, default_collate

from spnn.data import ImageFolder
from spnn.data.faces import make_face
from spnn.data.module import collate


class Plain(Dataset):
    """A data set as people first write it."""

    def __init__(self, paths: list[Path], size: int):
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = Image.open(self.paths[index]).convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def write_photographs(folder: Path, count: int, size: int) -> list[Path]:
    """Write images and their table."""
    rng, paths = np.random.default_rng(0), []
    for index in range(count):
        face, _ = make_face(0, index, size)
        noisy = np.clip(face + rng.normal(0, 6, face.shape), 0, 255).astype(np.uint8)
        paths.append(folder / f"{index}.jpg")
        Image.fromarray(noisy).save(paths[-1], quality=95)
    (folder / "attributes.csv").write_text("file,even\n" + "".join(f"{i}.jpg,{1 - i % 2}\n" for i in range(count)))
    return paths


def rate(dataset: Dataset, collate_fn: Callable, batch: int, seconds: float) -> float:
    """Images per second over a whole epoch, for the best of several epochs."""
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, collate_fn=collate_fn)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or best == 0:
        start = time.perf_counter()
        for _ in loader:
            pass
        best = max(best, len(dataset) / (time.perf_counter() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--from-size", type=int, default=1024, help="pixels of the files, height and width")
    parser.add_argument("--size", type=int, default=256, help="pixels of the tensors")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="the least to measure each way for")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photographs(Path(folder), options.images, options.from_size)
        size = sum(path.stat().st_size for path in paths) / len(paths) / 1024
        source = ImageFolder(folder, size=options.size)
        cached = ImageFolder(folder, size=options.size, cache=True, cache_folder=Path(folder) / "cache")
        train = source.split("train")
        chosen = [Path(train.name(index)) for index in range(len(train))]
        start = time.perf_counter()
        cached.prepare()
        preparing = options.images / (time.perf_counter() - start)
        timed = partial(rate, batch=options.batch, seconds=options.seconds)
        rates = {
            "plain: Pillow's open and resize": timed(Plain(chosen, options.size), default_collate),
            "ours, decoding each time": timed(train, collate),
            "ours, data.cache=true": timed(cached.split("train"), collate),
        }
    table = Table(f"{options.from_size} to {options.size} px, files of {size:.0f} KiB", "images/s", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"
    plain = next(iter(rates.values()))
    for name, value in rates.items():
        table.add_row(name, f"{value:,.0f}", f"{value / plain:.1f}x")
    console = Console(width=100)
    console.print(table)
    console.print(f"making the cache: {preparing:,.0f} images/s, on all cores")


if __name__ == "__main__":
    main()
