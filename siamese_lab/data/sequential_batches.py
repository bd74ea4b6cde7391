"""All images of a table in their order, as evaluation wants them."""

from collections.abc import Iterator

import torch

from siamese_lab.batch import Batch
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError


class SequentialBatches:
    """Batches of consecutive images, the last one short, with their places in the table as ids.

    Args:
        table: the images.
        batch_size: images at a time.
        rank: which of `ranks` processes this is, each of which has a part of the images.
        ranks: how many processes there are.
    """

    def __init__(self, table: BaseTable, batch_size: int, rank: int = 0, ranks: int = 1) -> None:
        if batch_size < 1:
            raise UserError(f"data.eval_batch_size must be at least 1, but is {batch_size}.")
        self.table = table
        self.batch_size = batch_size
        self.first = len(table) * rank // ranks
        self.end = len(table) * (rank + 1) // ranks

    def __len__(self) -> int:
        return -(-(self.end - self.first) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        parts = torch.arange(self.first, self.end).split(self.batch_size)
        fetched = self.table.fetch((index_B, index_B) for index_B in parts)
        return (Batch(images_BCHW, self.table.labels_N[index_B], index_B) for index_B, images_BCHW in fetched)
