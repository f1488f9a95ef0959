"""A Lightning data module over any source: loaders, scaling to [-1, 1], horizontal flips."""

from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from spnn.data.sources import Source, Split

__all__ = ["AttributeData", "scale_to_unit_range"]


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
        num_workers: Processes that load; 0 is best for a source that lies in memory.
    """

    def __init__(self, source: Source, batch_size: int, flip: bool, num_workers: int = 0):
        super().__init__()
        self.source, self.batch_size, self.flip, self.num_workers = source, batch_size, flip, num_workers

    def prepare_data(self) -> None:
        self.source.prepare()

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def _loader(self, split: Split, **options: Any) -> DataLoader:
        dataset = self.source.split(split)
        if hasattr(dataset, "__getitems__"):
            options["collate_fn"] = _already_a_batch
        return DataLoader(
            dataset,
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


def _already_a_batch(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return batch
