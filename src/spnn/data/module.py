"""A Lightning data module for any source: loaders, scaling to [-1, 1], random changes of training images."""

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
    """Scale uint8 in [0, 255] to float in [-1, 1]."""
    return image.float() / 127.5 - 1


class ImageData(L.LightningDataModule):
    """Batches ``{"image": float [B, C, H, W] in [-1, 1], "labels": float [B, K], "index": [B]}``.

    Images travel to the device as bytes and are scaled there. All random numbers of a training step (flips, and the
    noise that comes after) depend only on the seed, the step and the process, so interrupted training can continue as
    if it had not been interrupted.

    Arguments:
        source: Where the images come from.
        batch_size: Images per batch (and per device).
        flip: Mirror each training image with probability one half, together with labels that describe positions.
        augment: Further changes of each training image, uint8 [C, H, W] to the same shape, such as a transform of
            :mod:`torchvision.transforms.v2`; applied on the device, one image at a time.
        batches: Total number of batches from the training loader; the data are reshuffled each time they are used up.
            None for one pass over the data.
        num_workers: Processes that load images; none are used if the images are in arrays.
        seed: Seed of the order of images and of all random numbers in a step.
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
        """Check the source's splits, see :func:`~spnn.data.sources.check_split`."""
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
        # Each image once, and the same number of batches in each process, as they may wait for each other at each one.
        size, rank = self.trainer.world_size, self.trainer.global_rank
        own = range(rank % len(dataset), len(dataset), size)
        batches = math.ceil(math.ceil(len(dataset) / size) / self.batch_size)
        return self._loader(dataset, batch_sampler=[list(own[i::batches]) for i in range(batches)])

    def _loader(self, dataset: LabelledImages, **options: Any) -> DataLoader:
        in_arrays = isinstance(getattr(dataset, "images", None), np.ndarray)  # indexing an array needs no worker
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
        """One batch of the validation split, or its first few images, scaled; places beyond the last image start over
        from the first."""
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
    """Return a changed image; raise InputError unless it is uint8 of the same shape."""
    if not isinstance(changed, Tensor) or changed.dtype != torch.uint8 or changed.shape != image.shape:
        found = f"{changed.dtype} {list(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
        raise InputError(
            f"data.augment must turn an image, torch.uint8 {list(image.shape)}, into another, but gave {found}. (A "
            "transform to floats isn't needed: images are scaled to [-1, 1] afterwards.)"
        )
    return changed


def collate(batch: Batch | list[Batch]) -> Batch:
    """Stack a list of items; a batch is returned unchanged."""
    return batch if isinstance(batch, dict) else default_collate(batch)
