"""Choose the number of CPU threads of a run: a network that is too small to share its work uses one thread."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from siamese_lab.networks import SiameseNetwork

LEAST_SHARED = 100e6
"""Multiplications of a forward pass of a batch from which threads share the work.

With fewer, a pass takes about a millisecond, and threads wait for each other as long as they compute. The MLP on digits
has 12 million, Conv-4 on digits 150 million, and Conv-4 on a batch of glyphs 790 million.
"""
SET_BY_USER = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
"""Environment variables by which a user sets the number of threads."""


@contextmanager
def threads_restored() -> Iterator[None]:
    """After the block, return to the number of threads from before, so that a run does not change the next one."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def use_one_thread_if_small(network: SiameseNetwork, images: int, channels: int, image_size: int) -> None:
    """Use one thread if a batch needs fewer than `LEAST_SHARED` multiplications. A variable that a user has set wins.

    The rule counts and does not measure, so that runs on equal machines have equal threads and results.

    Args:
        network: a network on the CPU.
        images: number of images of a batch.
        channels: channels of an image.
        image_size: height and width of an image.
    """
    if not SET_BY_USER & os.environ.keys() and images * multiplications(network, channels, image_size) < LEAST_SHARED:
        torch.set_num_threads(1)


def multiplications(network: SiameseNetwork, channels: int, image_size: int) -> float:
    """Return how often the convolutions and matrix products of one training image multiply two numbers."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, channels, image_size, image_size))
    finally:
        network.train(was_training)
    flops: int = counter.get_total_flops()
    return flops / 2 / (1 + len(network.tta))
