"""Processes that train together: their ranks, and the values that they exchange.

Every process holds an equal part of each batch, in the order of the ranks. A single process holds the whole batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningModule
from torch import Tensor


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return dist.get_rank() if is_initialized() else 0


def count() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if is_initialized() else 1


def is_initialized() -> bool:
    """Return whether this process has joined a group of processes."""
    return dist.is_available() and dist.is_initialized()


def gather_batch(
    module: LightningModule, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Concatenate the parts of all processes, in the order of the ranks.

    The backward pass sums the gradients of the embeddings over the processes, because every process computes the loss
    of the whole batch. DistributedDataParallel then averages the gradients of the weights, so they equal the gradients
    of one process that holds the whole batch.

    Args:
        module: the Lightning module in training.
        z_BD: embeddings of this process, with or without a gradient.
        labels_B: int64 class labels.
        image_ids_B: int64 ids of the images, on every process or on none.

    Returns:
        Embeddings, labels and image ids of the whole batch, equal on every process.
    """
    return (
        gather(module, z_BD),
        gather(module, labels_B),
        None if image_ids_B is None else gather(module, image_ids_B),
    )


def gather(module: LightningModule, part_B: Tensor) -> Tensor:
    """Concatenate a tensor of all processes along its first dimension; every process must call this.

    Args:
        module: the Lightning module in training.
        part_B: a tensor with one shape on every process; a gradient flows back to the process that holds the part.
    """
    if count() == 1:
        return part_B
    every_RB = module.all_gather(part_B, sync_grads=part_B.requires_grad)
    assert isinstance(every_RB, Tensor)
    return every_RB.flatten(0, 1)


def own_part(whole: Tensor) -> Tensor:
    """Return the rows of a whole batch that belong to this process."""
    length = len(whole) // count()
    return whole[rank() * length : (rank() + 1) * length]


def host_group() -> Any:
    """Return a process group for tensors on the CPU, which does not wait for a GPU; every process must call this."""
    if count() == 1:
        return None
    return dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def greatest(number: int, group: Any) -> int:
    """Return the greatest number of all processes; every process must call this.

    Args:
        number: the number of this process.
        group: the result of `host_group`.
    """
    if count() == 1:
        return number
    shared = torch.tensor(number)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX, group=group)
    return int(shared)
