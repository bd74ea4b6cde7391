"""Batches of the images of a table in row order, for evaluation.

Shapes: N images of the table, M of its rows.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from siamese_lab.batch import Batch
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError


class SequentialBatches:
    """Batches of consecutive rows; the last batch may be short. The row numbers are the image ids.

    Args:
        table: the images.
        batch_size: number of images per batch.
        rank: rank of this process. Each process gets one contiguous part of the images.
        ranks: number of processes.
        rows_M: rows to yield (int64); None yields all rows.
    """

    def __init__(
        self, table: BaseTable, batch_size: int, rank: int = 0, ranks: int = 1, rows_M: Tensor | None = None
    ) -> None:
        if batch_size < 1:
            raise UserError(f"data.eval_batch_size must be at least 1, but is {batch_size}.")
        self.table = table
        self.batch_size = batch_size
        every_M = torch.arange(len(table)) if rows_M is None else rows_M
        self.rows_M = every_M[len(every_M) * rank // ranks : len(every_M) * (rank + 1) // ranks]

    def __len__(self) -> int:
        return -(-len(self.rows_M) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        parts = self.rows_M.split(self.batch_size)
        fetched = self.table.fetch((index_B, index_B) for index_B in parts)
        return (Batch(images_BCHW, self.table.labels_N[index_B], index_B) for index_B, images_BCHW in fetched)
