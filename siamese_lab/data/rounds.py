"""Draw numbers in rounds: each number occurs once before any number occurs again."""

import numpy as np
import torch
from torch import Tensor


def take_in_rounds(
    queue: Tensor, count: int, numbers: int, apart: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Take numbers off a queue, after filling it with permutations of all numbers.

    A permutation may begin in the middle of a group of `apart` numbers. Numbers that are already in that group then
    move to the end of the permutation, so that no number occurs twice in a group.

    Args:
        queue: the numbers that wait (int64). Its first number begins a group.
        count: how many numbers to take, a multiple of `apart`.
        numbers: the numbers are 0 to `numbers` − 1.
        apart: size of a group, at most `numbers`.
        generator: draws the permutations.

    Returns:
        The numbers that were taken, and the queue that is left.
    """
    rounds = max(0, -(-(count - len(queue)) // numbers))
    noise = torch.rand(rounds, numbers, generator=generator, dtype=torch.float64)
    queued = [queue.numpy()]
    length = len(queue)
    is_waiting_C = np.zeros(numbers, dtype=bool)
    for fresh_C in noise.numpy().argsort(1):
        waiting = length % apart
        if waiting:
            is_waiting_C[queued[-1][-waiting:]] = True
            fresh_C = fresh_C[is_waiting_C[fresh_C].argsort(kind="stable")]
            is_waiting_C[:] = False
        queued.append(fresh_C)
        length += len(fresh_C)
    taken, left = torch.from_numpy(np.concatenate(queued)).split([count, length - count])
    return taken, left
