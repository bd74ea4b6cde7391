"""Measure the time of one part of a training step, without making the host wait for a GPU."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Timer:
    """Adds up the seconds of all `with timer.running(device)` blocks.

    Args:
        seconds: initial total.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._latest = 0.0
        self._pending: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Time the block: with the clock on a CPU, with events in the stream on a GPU."""
        if device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            yield
            end.record()
            self._pending.append((start, end))
        else:
            begin = time.perf_counter()
            yield
            self._latest = time.perf_counter() - begin
            self._seconds += self._latest

    def seconds(self) -> float:
        """Return the total so far; on a GPU this waits for the last block to end."""
        if self._pending:
            self._pending[-1][1].synchronize()
        self._count_finished()
        return self._seconds

    def latest(self) -> float:
        """Return the seconds of the last finished block; on a GPU this does not wait for blocks that still run."""
        self._count_finished()
        return self._latest

    def _count_finished(self) -> None:
        while self._pending and self._pending[0][1].query():
            start, end = self._pending.popleft()
            self._latest = start.elapsed_time(end) / 1000
            self._seconds += self._latest
