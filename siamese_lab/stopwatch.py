"""Time spent in one part of a step, without making a GPU wait for the host."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the seconds of the `with watch.running(device)` blocks it has seen.

    Args:
        seconds: to count on from.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._latest = 0.0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Time the block: by the clock on a CPU, by events in the stream on a GPU."""
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
        """Total so far; on a GPU this waits for the last block to end."""
        for start, end in self._pending:
            end.synchronize()
            self._latest = start.elapsed_time(end) / 1000
            self._seconds += self._latest
        self._pending.clear()
        return self._seconds

    def latest(self) -> float:
        """Seconds of the last block alone; on a GPU this waits for it to end."""
        self.seconds()
        return self._latest
