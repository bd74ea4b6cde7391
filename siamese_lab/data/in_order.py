"""All images of a table in their order, as evaluation wants them."""

from collections.abc import Iterator

from siamese_lab.batch import Batch
from siamese_lab.data.image_table import ImageTable


class InOrder:
    """Batches of consecutive images, the last one short.

    Args:
        table: the images.
        batch_size: images at a time.
    """

    def __init__(self, table: ImageTable, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"data.eval_batch_size must be at least 1, but is {batch_size}.")
        self.table = table
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.table) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        parts = zip(
            self.table.images_NCHW.split(self.batch_size),
            self.table.labels_N.split(self.batch_size),
            strict=True,
        )
        return (Batch(images, labels) for images, labels in parts)
