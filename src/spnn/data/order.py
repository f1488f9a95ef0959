"""The order in which training sees images."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

__all__ = ["ShuffledBatches"]


class ShuffledBatches(Sampler[list[int]]):
    """Batches from an endless sequence of shuffles of a data set; several processes share each batch.

    The images of batch ``k`` depend on ``k`` and the seed alone, so interrupted training continues with the images that
    it would have seen, and several processes together see the same images as one process with the whole batch.

    Arguments:
        size: Images in the data set.
        batch_size: Images per batch, for each process.
        batches: Total number of batches.
        seed: Seed of the shuffles.
        start: The first batch to give.
        rank, world_size: The process's number, and how many processes there are.
    """

    def __init__(
        self, size: int, batch_size: int, batches: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1
    ):
        self.size, self.batch_size, self.batches, self.seed = size, batch_size, batches, seed
        self.start, self.rank, self.world_size = start, rank, world_size

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        shuffle, order = -1, []
        for batch in range(self.start, self.batches):
            first = (batch * self.world_size + self.rank) * self.batch_size
            indices = []
            for place in range(first, first + self.batch_size):
                if place // self.size != shuffle:
                    shuffle = place // self.size
                    generator = torch.Generator().manual_seed(self.seed * 1_000_003 + shuffle)
                    order = torch.randperm(self.size, generator=generator).tolist()
                indices.append(order[place % self.size])
            yield indices
