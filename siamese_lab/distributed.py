"""Processes that train together: which of them this is, and what they decide together.

Every process holds an equal part of each batch, in the order of the ranks. A process that trains alone holds all of it.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return dist.get_rank() if is_initialized() else 0


def processes() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if is_initialized() else 1


def is_initialized() -> bool:
    """Return whether this process has joined a group of processes."""
    return dist.is_available() and dist.is_initialized()


def own_part(whole: Tensor) -> Tensor:
    """Return the rows of a whole batch that belong to this process."""
    count = len(whole) // processes()
    return whole[rank() * count : (rank() + 1) * count]


def host_group() -> Any:
    """Return a group for tensors on the CPU, which waits for no GPU; every process has to call this."""
    if processes() == 1:
        return None
    return dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def greatest(number: int, group: Any) -> int:
    """Return the greatest number of all processes; every process has to call this.

    Args:
        number: of this process.
        group: made by `host_group`.
    """
    if processes() == 1:
        return number
    shared = torch.tensor(number)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX, group=group)
    return int(shared)
