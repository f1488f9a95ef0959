"""A Lightning data module over any source: loaders, scaling to [-1, 1], random changes of training images."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from spnn.data.arrays import LabelledImages
from spnn.data.order import ShuffledBatches
from spnn.data.sources import SPLITS, Source, Split, check_split
from spnn.errors import InputError

__all__ = ["ImageData", "collate", "scale_to_unit_range"]

Batch = dict[str, Tensor]


def scale_to_unit_range(image: Tensor) -> Tensor:
    """uint8 in [0, 255] to float in [-1, 1]."""
    return image.float() / 127.5 - 1


class ImageData(L.LightningDataModule):
    """Batches ``{"image": float [B, C, H, W] in [-1, 1], "labels": float [B, K], "index": [B]}``.

    Images travel to the device as bytes and are scaled there. All that is random in a training step (flips, and the
    noise that comes after) is a function of the seed, the step and the process, so training that was interrupted can go
    on as if it had not been.

    Arguments:
        source: Where the images come from.
        batch_size: Images per batch (and per device).
        flip: Mirror each training image with probability one half, and labels that say where something is with it.
        augment: Further changes of each training image, uint8 [C, H, W] to the same shape, such as a transform of
            :mod:`torchvision.transforms.v2`; on the device, one image at a time.
        batches: Batches that the training loader gives in all; the data are shuffled anew each time they are used up.
            None for as many as there are data.
        num_workers: Processes that load; none does where images lie in arrays.
        seed: Of the order of images and of all that is random in a step.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        flip: bool = False,
        augment: Callable[[Tensor], Tensor] | None = None,
        batches: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__()
        self.source, self.batch_size, self.flip, self.augment = source, batch_size, flip, augment
        self.batches, self.num_workers, self.seed = batches, num_workers, seed

    @cached_property
    def train(self) -> LabelledImages:
        return self.source.split("train")

    def prepare_data(self) -> None:
        self.source.prepare()

    def setup(self, stage: str) -> None:
        """Look at what the source gives, see :func:`~spnn.data.sources.check_split`."""
        for name in SPLITS if stage == "fit" else ():
            check_split(self.source, name)

    def train_dataloader(self) -> DataLoader:
        world_size, rank, start = 1, 0, 0
        if self.trainer is not None:
            world_size, rank = self.trainer.world_size, self.trainer.global_rank
            start = self.trainer.global_step * self.trainer.accumulate_grad_batches  # after a restart
        batches = self.batches or max(1, len(self.train) // (self.batch_size * world_size))
        order = ShuffledBatches(len(self.train), self.batch_size, batches, self.seed, start, rank, world_size)
        return self._loader(self.train, batch_sampler=order)

    def val_dataloader(self) -> DataLoader:
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader:
        return self._in_order("test")

    def _in_order(self, split: Split) -> DataLoader:
        dataset = self.source.split(split)
        if self.trainer is None or self.trainer.world_size == 1:
            return self._loader(dataset, batch_size=min(self.batch_size, len(dataset)))
        # Each image once, and as many batches in each process, which may wait for the others at each.
        size, rank = self.trainer.world_size, self.trainer.global_rank
        own = range(rank % len(dataset), len(dataset), size)
        batches = math.ceil(math.ceil(len(dataset) / size) / self.batch_size)
        return self._loader(dataset, batch_sampler=[list(own[i::batches]) for i in range(batches)])

    def _loader(self, dataset: LabelledImages, **options: Any) -> DataLoader:
        in_arrays = isinstance(getattr(dataset, "images", None), np.ndarray)  # one indexing needs no process
        workers = 0 if in_arrays else self.num_workers
        return DataLoader(
            dataset,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def validation_batch(self, number: int, most: int | None = None) -> Batch:
        """The images of one batch of the validation split, or the first few of them, scaled; numbers beyond the last go
        round."""
        dataset = self.source.split("val")
        first, count = number * self.batch_size, min(self.batch_size, len(dataset), most or self.batch_size)
        batch = default_collate([dataset[i % len(dataset)] for i in range(first, first + count)])
        return {**batch, "image": scale_to_unit_range(batch["image"])}

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.trainer is not None and self.trainer.training:
            step = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
            torch.manual_seed((self.seed * 1_000_003 + step) * 4099 + self.trainer.global_rank)
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        image = batch["image"]
        training = self.trainer is not None and self.trainer.training
        if training and self.augment is not None:
            image = torch.stack([_of_the_same_kind(one, self.augment(one)) for one in image])
        image = scale_to_unit_range(image)
        if training and self.flip:
            labels = batch["labels"]
            mirrored = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.5
            image = torch.where(mirrored, image.flip(-1), image)
            batch = {**batch, "labels": torch.where(mirrored[:, :, 0, 0], self.source.mirror(labels), labels)}
        return {**batch, "image": image}


def _of_the_same_kind(image: Tensor, changed: Tensor) -> Tensor:
    """A changed image; raise InputError if it is no bytes of the same shape."""
    if not isinstance(changed, Tensor) or changed.dtype != torch.uint8 or changed.shape != image.shape:
        found = f"{changed.dtype} {list(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
        raise InputError(
            f"data.augment must turn an image, torch.uint8 {list(image.shape)}, into another, but gave {found}. (A "
            "transform to floats isn't needed: images are scaled to [-1, 1] afterwards.)"
        )
    return changed


def collate(batch: Batch | list[Batch]) -> Batch:
    """Stack a list of items; what is a batch already stays as it is."""
    return batch if isinstance(batch, dict) else default_collate(batch)
