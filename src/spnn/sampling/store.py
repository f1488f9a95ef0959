"""Samples on disk as they come, so that an interrupted sampling goes on where it ended.

Each batch becomes one file, ``unfinished/<first index>.safetensors``, written beside its place and moved there in one
step, and a PNG per image. The folder ``unfinished`` is removed when all are there and the results are written.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from spnn.configs import plain, read_config
from spnn.processes import rank
from spnn.runs import fresh_folder
from spnn.sampling.pictures import save_image
from spnn.sampling.room import room
from spnn.saving import replacing

__all__ = ["MemoryStore", "SampleStore"]

# Options without effect on the samples: of the trainer's, the precision has one; of a study's methods, the one that a
# store's samples are by, which is its `guidance`.
_WITHOUT_EFFECT = {"batch_size", "compile", "download", "folder", "logger", "methods", "report", "save", "shown"}


class MemoryStore:
    """Samples in memory, of one process.

    Arguments:
        names: One per sample.
    """

    def __init__(self, names: Sequence[str]):
        self.names = names
        self._batches: list[Mapping[str, Tensor]] = []

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Keep a batch: ``index`` [B] and ``image`` [B, C, H, W], and what else there is, one row per sample."""
        self._batches.append(batch)

    def missing(self) -> list[int]:
        """Indices of the samples that are not there yet."""
        there = {index for some in self._indices() for index in some.tolist()}
        return [index for index in range(len(self.names)) if index not in there]

    def collect(self) -> dict[str, Tensor]:
        """All samples, in order."""
        images, rest = None, []
        for batch in self._all():
            batch = dict(batch)
            image = batch.pop("image")
            images = room(len(self.names), *image.shape[1:]) if images is None else images
            images[batch["index"]] = image
            rest.append(batch)
        together = {name: torch.cat([batch[name] for batch in rest]) for name in rest[0]}
        index = together.pop("index")  # of which the first alone may have frames
        others = {name: tensor[index[index < len(tensor)].argsort()] for name, tensor in together.items()}
        assert images is not None  # as there is a batch
        return {"image": images, **others}

    def _indices(self) -> list[Tensor]:
        return [batch["index"] for batch in self._batches]

    def _all(self) -> Iterable[Mapping[str, Tensor]]:
        return self._batches


class SampleStore(MemoryStore):
    """The samples of one folder.

    Arguments:
        folder: Where PNGs go, and ``unfinished/``.
        names: One per sample, of its PNG.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]):
        super().__init__(names)
        self.folder = Path(folder)
        self.parts = self.folder / "unfinished"

    def open(self, config: DictConfig, marker: str, asked: Mapping[str, Tensor]) -> bool:
        """Make the folder ready; return whether it goes on with an interrupted sampling of the same.

        Arguments:
            config: What is asked for; written to the file ``marker``.
            marker: A file's name.
            asked: Targets, seeds, and a fingerprint of the weights. An earlier sampling is only continued if its own
                are equal.
        """
        if rank() != 0:  # a process that the first one has started, or that waits for it in `generate`
            return False
        if self.parts.is_dir() and (self.folder / marker).is_file() and (self.parts / "asked").is_file():
            before = read_config(self.folder / marker)
            if _with_effect(before) == _with_effect(config) and _same(load_file(self.parts / "asked"), asked):
                with replacing(self.folder / marker) as unfinished:  # what has no effect may be otherwise now
                    OmegaConf.save(config, unfinished, resolve=True)
                return True
        fresh_folder(self.folder)
        self.parts.mkdir()
        OmegaConf.save(config, self.folder / marker, resolve=True)
        save_file({name: tensor.contiguous() for name, tensor in asked.items()}, self.parts / "asked")
        return False

    def add(self, batch: Mapping[str, Tensor]) -> None:
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            save_image(image, self.folder / f"{self.names[index]}.png")
        path = self.parts / f"{int(batch['index'][0]):08d}.safetensors"
        with replacing(path) as unfinished:
            save_file({name: tensor.contiguous() for name, tensor in batch.items()}, unfinished)

    def close(self) -> None:
        """Forget the parts: the results are written."""
        shutil.rmtree(self.parts)

    def _indices(self) -> list[Tensor]:
        return [safe_open(path, framework="pt").get_tensor("index") for path in self._files()]

    def _all(self) -> Iterable[Mapping[str, Tensor]]:
        return map(load_file, self._files())

    def _files(self) -> list[Path]:
        return sorted(self.parts.glob("*.safetensors"))


def _with_effect(config: DictConfig) -> dict:
    options = plain(config)
    precision = options.get("trainer", {}).get("precision")
    return {key: options[key] for key in options.keys() - _WITHOUT_EFFECT - {"trainer"}} | {"precision": precision}


def _same(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> bool:
    return before.keys() == now.keys() and all(
        before[name].shape == now[name].shape and torch.allclose(before[name].double(), now[name].double(), atol=1e-3)
        for name in now
    )
