"""Samples written to disk as they are drawn, so that interrupted sampling can continue where it stopped.

Each batch becomes one file, ``unfinished/<first index>.safetensors``, written under another name and moved into place
in one step, and a PNG per image. The folder ``unfinished`` is removed once all samples and the results are written.
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

# Options without effect on the samples. `trainer` is handled separately, because its precision does have an effect. Of
# a study's methods, only the one that draws a store's samples has an effect, and that is the store's `guidance`.
_WITHOUT_EFFECT = {"batch_size", "compile", "download", "folder", "logger", "methods", "report", "save", "shown"}


class MemoryStore:
    """Samples of one process, in memory.

    Arguments:
        names: A name per sample.
    """

    def __init__(self, names: Sequence[str]):
        self.names = names
        self._batches: list[Mapping[str, Tensor]] = []

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Keep a batch: ``index`` [B], ``image`` [B, C, H, W], and any other tensors with one row per sample."""
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
        index = together.pop("index")  # only the first samples may have frames
        others = {name: tensor[index[index < len(tensor)].argsort()] for name, tensor in together.items()}
        assert images is not None  # there is at least one batch
        return {"image": images, **others}

    def _indices(self) -> list[Tensor]:
        return [batch["index"] for batch in self._batches]

    def _all(self) -> Iterable[Mapping[str, Tensor]]:
        return self._batches


class SampleStore(MemoryStore):
    """The samples of one folder.

    Arguments:
        folder: The folder for the PNGs and ``unfinished/``.
        names: The name of each sample's PNG.
    """

    def __init__(self, folder: str | Path, names: Sequence[str]):
        super().__init__(names)
        self.folder = Path(folder)
        self.parts = self.folder / "unfinished"

    def open(self, config: DictConfig, marker: str, asked: Mapping[str, Tensor]) -> bool:
        """Prepare the folder; return whether sampling continues where the same request was interrupted.

        Arguments:
            config: The command's config; written to the file ``marker``.
            marker: The name of that file.
            asked: Targets, seeds, and a fingerprint of the weights. Interrupted sampling is only continued if these are
                equal.
        """
        if rank() != 0:  # the first process has started this one, or this one waits for it in `generate`
            return False
        if self.parts.is_dir() and (self.folder / marker).is_file() and (self.parts / "asked").is_file():
            before = read_config(self.folder / marker)
            if _with_effect(before) == _with_effect(config) and _same(load_file(self.parts / "asked"), asked):
                with replacing(self.folder / marker) as unfinished:  # options without effect may have changed
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
        """Remove the parts, once the results are written."""
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
