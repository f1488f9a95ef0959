"""CelebA's layout on disk: ``img_align_celeba/*.jpg``, ``list_attr_celeba.txt``, ``list_eval_partition.txt``."""

from pathlib import Path

import numpy as np
from PIL import Image

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.faces import make_face
from spnn.errors import InputError

__all__ = ["write_synthetic_celeba"]

WIDTH, HEIGHT = 178, 218


def write_synthetic_celeba(root: str | Path, train: int, val: int, test: int, seed: int = 0) -> None:
    """Write rendered faces as CelebA's aligned images are laid out: 178x218 pixels, three text files.

    The face fills the central 178x178 pixels, which is what readers of CelebA crop; above and below, the border's
    pixels continue.

    Arguments:
        root: Folder to make; it must be new or empty.
        train, val, test: Number of images in each part of the partition.
        seed: Seed of the renderer.

    Raises:
        InputError: If ``root`` holds something already.
    """
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty: give a new folder, nothing is overwritten.")
    images = root / "img_align_celeba"
    images.mkdir(parents=True, exist_ok=True)
    parts = np.repeat([0, 1, 2], [train, val, test])
    attribute_lines, partition_lines = [], []
    for index, part in enumerate(parts):
        name = f"{index + 1:06d}.jpg"
        face, attributes = make_face(seed, index, WIDTH)
        border = (HEIGHT - WIDTH) // 2
        tall = np.pad(face, ((border, HEIGHT - WIDTH - border), (0, 0), (0, 0)), mode="edge")
        Image.fromarray(tall).save(images / name, quality=95)
        attribute_lines.append(name + "".join(f" {1 if value else -1:2d}" for value in attributes))
        partition_lines.append(f"{name} {part}")
    header = [str(len(parts)), " ".join(CELEBA_ATTRIBUTES)]
    (root / "list_attr_celeba.txt").write_text("\n".join(header + attribute_lines) + "\n")
    (root / "list_eval_partition.txt").write_text("\n".join(partition_lines) + "\n")
