"""Measure comparable times: all contestants run in turns within one process, and the median of each counts."""

import statistics
import time
from collections.abc import Callable


def medians(
    contestants: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Return the seconds of each contestant: the median of `repeats` rounds, after a warm-up round.

    In a round each contestant runs once, so that other load on the machine affects all of them.

    Args:
        contestants: what to run, by name.
        repeats: number of counted rounds; an odd number has a middle.
        clock: by default the processor time of this process with all its threads, which other load disturbs least.
            It does not include other processes: contestants that start processes need `time.perf_counter`.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(repeats + 1):
        for name, run in contestants.items():
            started = clock()
            run()
            if round_ > 0:
                taken[name].append(clock() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
