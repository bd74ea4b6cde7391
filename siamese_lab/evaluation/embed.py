"""Embed all images of a table, in the order of the table.

Shapes: N images, B images per batch, D embedding dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from lightning import Fabric
from torch import Tensor, nn

from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.devices.precision import float32_convolutions
from siamese_lab.errors import UserError
from siamese_lab.networks import SiameseNetwork


def embed(
    network: SiameseNetwork,
    table: BaseTable,
    fabric: Fabric,
    batch_size: int = 512,
    advance: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """Return the network's output for each image: float32 (N, D) on the device, of unit norm if the network normalizes.

    Args:
        network: on the device of `fabric`. It is in evaluation mode while this function runs.
        table: the images.
        fabric: the device and the precision.
        batch_size: number of images per batch.
        advance: called after every batch with the number of images in that batch.

    Raises:
        UserError: if there are no images.
    """
    if not len(table):
        raise UserError("There is nothing to evaluate: the data set has 0 images, but at least 1 is needed.")
    parts = []
    with evaluating(network, fabric):
        for batch in SequentialBatches(table, batch_size):
            parts.append(network(to_float(fabric.to_device(batch.images_BCHW))))
            advance(len(batch.labels_B))
    return torch.cat(parts)


@contextmanager
def evaluating(network: nn.Module, fabric: Fabric) -> Iterator[None]:
    """Run the block without gradients, in the precision of `fabric` and with the network in evaluation mode."""
    before = network.training
    network.eval()
    try:
        with torch.no_grad(), fabric.autocast(), float32_convolutions():
            yield
    finally:
        network.train(before)
