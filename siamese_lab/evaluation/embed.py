"""The embeddings of all images of a table, in their order.

Shapes: N images, B at a time, D embedding dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from lightning import Fabric
from torch import Tensor

from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError
from siamese_lab.networks import SiameseNetwork


def embed(
    network: SiameseNetwork,
    table: BaseTable,
    fabric: Fabric,
    batch_size: int = 512,
    advance: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """What the network makes of each image: float32 (N, D) on the device, of unit norm where the network normalises.

    Args:
        network: on the device of `fabric`; in evaluation mode for as long as this takes.
        table: the images.
        fabric: whose device and precision are used.
        batch_size: images at a time.
        advance: is told of every batch how many images it had.

    Raises:
        UserError: if there are no images.
    """
    if not len(table):
        raise UserError("There is nothing to evaluate: the set has no images.")
    parts = []
    with evaluating(network, fabric):
        for batch in SequentialBatches(table, batch_size):
            parts.append(network(to_float(fabric.to_device(batch.images_BCHW))))
            advance(len(batch.labels_B))
    return torch.cat(parts)


@contextmanager
def evaluating(network: SiameseNetwork, fabric: Fabric) -> Iterator[None]:
    """Without gradients, in the precision of `fabric`, the network in evaluation mode meanwhile."""
    before = network.training
    network.eval()
    try:
        with torch.no_grad(), fabric.autocast(), no_tf32():
            yield
    finally:
        network.train(before)


@contextmanager
def no_tf32() -> Iterator[None]:
    """Convolve float32 as float32 on a GPU too, which otherwise rounds it to 10 bits."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before
