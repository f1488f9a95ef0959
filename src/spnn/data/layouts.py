"""Write rendered pictures in the layouts of real data sets, to try a reader or a whole experiment without real data.

    python -m spnn.data.layouts celeba outputs/celeba --train 2000 --val 200 --test 200

Layouts: ``celeba`` (the authors' text files), ``celeba_kaggle`` (CSV files, images two folders deep),
``celebahq`` (CelebAMask-HQ, with masks of faces' parts), ``image_folder`` (a table of attributes beside the images) and
``mask_folder`` (a map of regions for each image), all of faces; and ``voc`` (Pascal VOC), scenes of shapes with their
boxes.
"""

import argparse
import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from spnn.data.attributes import CELEBA_ATTRIBUTES
from spnn.data.celeba import ALIGNED
from spnn.data.faces import make_face
from spnn.data.faces.measures import POINTS, REGIONS, face_points, face_regions
from spnn.data.scenes import SHAPES, make_scene
from spnn.data.sources import SPLITS
from spnn.errors import InputError

__all__ = ["LAYOUTS", "write_faces", "write_scenes"]

LAYOUTS = ("celeba", "celeba_kaggle", "celebahq", "image_folder", "mask_folder")

_PARTS = {"skin": "skin", "hair": "hair", "clothes": "cloth", "glasses": "eye_g", "hat": "hat"}  # as CelebAMask-HQ's
_MASK = 128  # height and width in pixels of maps of regions: larger ones take seconds to draw
_POINTS = [name.replace("_", "", name.count("_") - 1) for name in POINTS]  # as CelebA calls them: lefteye_x
_FOLDERS = {
    "celeba": "img_align_celeba",
    "celeba_kaggle": "img_align_celeba/img_align_celeba",
    "celebahq": "CelebA-HQ-img",
    "image_folder": "images",
    "mask_folder": "images",
}


def write_faces(
    root: str | Path, layout: str, train: int, val: int, test: int, size: int = 1024, seed: int = 0
) -> None:
    """Write rendered faces in a data set's layout.

    CelebA's images have 178x218 pixels: the face fills the central square, which readers crop; above and below it, its
    border pixels are repeated. CelebAMask-HQ has no partition: readers split it 80/10/10 by number. Its masks have
    512x512 pixels, those of ``mask_folder`` at most 128x128.

    Arguments:
        root: Folder to make; it must be new or empty.
        layout: One of :data:`LAYOUTS`.
        train, val, test: Number of images in each part.
        size: Height and width of the images, except for CelebA's.
        seed: Seed of the renderer.

    Raises:
        InputError: If ``root`` holds something already, or the layout is unknown.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layouts are {', '.join(LAYOUTS)}; got {layout!r}.")
    root = _empty(root)
    folder = root / _FOLDERS[layout]
    folder.mkdir(parents=True, exist_ok=True)
    parts = np.repeat([0, 1, 2], [train, val, test]).tolist()
    aligned = layout in ("celeba", "celeba_kaggle")
    names, rows, points = [], [], []
    for index in range(train + val + test):
        face, attributes = make_face(seed, index, ALIGNED[0] if aligned else size)
        if aligned:
            border = (ALIGNED[1] - ALIGNED[0]) // 2
            face = np.pad(face, ((border, border), (0, 0), (0, 0)), mode="edge")
            pixels = face_points(seed, index) * ALIGNED[0] + [0, border]
            points.append(np.rint(pixels).astype(int).reshape(-1).tolist())
        names.append(f"{index}.jpg" if layout == "celebahq" else f"{index + 1:06d}.jpg")
        if layout == "mask_folder":
            names[-1] = f"{SPLITS[parts[index]]}/{names[-1]}"
            mask = (root / "masks" / names[-1]).with_suffix(".png")
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(face_regions(seed, index, min(size, _MASK))).save(mask)
        elif layout == "celebahq":
            regions = face_regions(seed, index, _MASK).repeat(512 // _MASK, 0).repeat(512 // _MASK, 1)
            _write_parts(root / "CelebAMask-HQ-mask-anno", index, regions)
        rows.append([1 if value else -1 for value in attributes])
        (folder / names[-1]).parent.mkdir(exist_ok=True)
        Image.fromarray(face).save(folder / names[-1], quality=95)
    if layout == "celeba":
        _write_text(root / "list_attr_celeba.txt", names, rows, CELEBA_ATTRIBUTES)
        _write_text(root / "list_eval_partition.txt", names, [[part] for part in parts])
        _write_text(root / "list_landmarks_align_celeba.txt", names, points, _POINTS)
    elif layout == "celebahq":
        _write_text(root / "CelebAMask-HQ-attribute-anno.txt", names, rows, CELEBA_ATTRIBUTES)
    elif layout == "celeba_kaggle":
        _write_csv(root / "list_attr_celeba.csv", ["image_id", *CELEBA_ATTRIBUTES], names, rows)
        _write_csv(root / "list_eval_partition.csv", ["image_id", "partition"], names, [[part] for part in parts])
        _write_csv(root / "list_landmarks_align_celeba.csv", ["image_id", *_POINTS], names, points)
    elif layout == "mask_folder":
        (root / "classes.txt").write_text("\n".join(REGIONS) + "\n", encoding="utf-8")
    else:
        rows = [[*row, SPLITS[part]] for row, part in zip(rows, parts, strict=True)]
        _write_csv(root / "attributes.csv", ["image", *CELEBA_ATTRIBUTES, "split"], names, rows)


def _write_parts(folder: Path, index: int, regions: np.ndarray) -> None:
    """Write a map of regions as masks of the face's parts, white on black. Brows belong to the hair, and the rest of
    the face is skin."""
    left = np.arange(regions.shape[1]) < regions.shape[1] / 2
    masks = {part: regions == REGIONS.index(region) for region, part in _PARTS.items()}
    eyes = regions == REGIONS.index("eyes")
    masks |= {"l_eye": eyes & left, "r_eye": eyes & ~left}
    stem = folder / f"{index // 2000}/{index:05d}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    for part, mask in masks.items():
        if mask.any():
            Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB").save(f"{stem}_{part}.png")


def write_scenes(root: str | Path, train: int, val: int, test: int, size: int = 128, seed: int = 0) -> None:
    """Write rendered scenes of shapes in Pascal VOC's layout; arguments and errors as :func:`write_faces`."""
    root = _empty(root)
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    names = [f"{index + 1:06d}" for index in range(train + val + test)]
    for index, name in enumerate(names):
        scene, boxes, kinds = make_scene(seed, index, size)
        Image.fromarray(scene).save(root / f"JPEGImages/{name}.jpg", quality=95)
        top = ElementTree.Element("annotation")
        ElementTree.SubElement(top, "filename").text = f"{name}.jpg"
        _add(ElementTree.SubElement(top, "size"), {"width": size, "height": size, "depth": 3})
        for (left, upper, right, lower), kind in zip(np.rint(boxes * size).astype(int), kinds, strict=True):
            shape = ElementTree.SubElement(top, "object")
            _add(shape, {"name": SHAPES[kind], "difficult": 0})
            edges = {"xmin": left + 1, "ymin": upper + 1, "xmax": right, "ymax": lower}  # pixels count from 1
            _add(ElementTree.SubElement(shape, "bndbox"), edges)
        ElementTree.ElementTree(top).write(root / f"Annotations/{name}.xml")
    ends = np.cumsum([train, val])
    for split, some in zip(("train", "val", "test"), np.split(names, ends), strict=True):
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in some), encoding="utf-8")


def _add(parent: ElementTree.Element, texts: Mapping[str, object]) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = str(text)


def _empty(root: str | Path) -> Path:
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty: give a new folder, nothing is overwritten.")
    return root


def _write_text(path: Path, names: list[str], rows: list[list[int]], columns: Sequence[str] | None = None) -> None:
    header = [] if columns is None else [str(len(names)), " ".join(columns)]
    lines = [name + "".join(f" {value:2d}" for value in row) for name, row in zip(names, rows, strict=True)]
    path.write_text("\n".join([*header, *lines]) + "\n", encoding="utf-8")


def _write_csv(path: Path, header: list[str], names: list[str], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([name, *row] for name, row in zip(names, rows, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", choices=(*LAYOUTS, "voc"))
    parser.add_argument("root")
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--val", type=int, default=100)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--size", type=int, help="pixels, but for CelebA's 178x218; without it 1024, scenes 128")
    parser.add_argument("--seed", type=int, default=0)
    options = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    layout = options.pop("layout")
    write = write_scenes if layout == "voc" else partial(write_faces, layout=layout)
    try:
        write(**options)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
