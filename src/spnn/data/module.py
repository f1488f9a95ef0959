"""A Lightning data module over any source: loaders, scaling to [-1, 1], horizontal flips."""

from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, default_collate

from spnn.data.sources import Source

__all__ = ["AttributeData", "collate", "scale_to_unit_range"]


def scale_to_unit_range(image: torch.Tensor) -> torch.Tensor:
    """uint8 in [0, 255] to float in [-1, 1]."""
    return image.float() / 127.5 - 1


class AttributeData(L.LightningDataModule):
    """Batches ``{"image": float [B, C, H, W] in [-1, 1], "attributes": float [B, K] in {0, 1}}``.

    Images travel to the device as bytes and are scaled there.

    Arguments:
        source: Where the images come from.
        batch_size: Images per batch (and per device).
        flip: Mirror each training image with probability one half.
        steps: Batches in one pass of the training loader; the data are shuffled anew each time they are used up. None
            for as many as there are data.
        num_workers: Processes that load; 0 is best for a source that lies in memory.
    """

    def __init__(self, source: Source, batch_size: int, flip: bool, steps: int | None = None, num_workers: int = 0):
        super().__init__()
        self.source, self.batch_size, self.flip = source, batch_size, flip
        self.steps, self.num_workers = steps, num_workers

    def prepare_data(self) -> None:
        self.source.prepare()

    def train_dataloader(self) -> DataLoader:
        dataset = self.source.split("train")
        draws = None if self.steps is None else self.steps * min(self.batch_size, len(dataset))
        return self._loader(dataset, sampler=RandomSampler(dataset, num_samples=draws), drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.source.split("val"))

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.source.split("test"))

    def _loader(self, dataset: Dataset, **options: Any) -> DataLoader:
        return DataLoader(
            dataset,
            collate_fn=collate,
            batch_size=min(self.batch_size, len(dataset)),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

    def on_after_batch_transfer(self, batch: dict[str, torch.Tensor], dataloader_idx: int) -> dict[str, torch.Tensor]:
        image = scale_to_unit_range(batch["image"])
        if self.flip and self.trainer is not None and self.trainer.training:
            mirrored = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.5
            image = torch.where(mirrored, image.flip(-1), image)
        return {**batch, "image": image}


def collate(batch: dict[str, torch.Tensor] | list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Stack a list of items; what is a batch already stays as it is."""
    return batch if isinstance(batch, dict) else default_collate(batch)
