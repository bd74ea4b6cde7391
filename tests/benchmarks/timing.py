"""Taking times that can be compared: every contestant in one process, in turns, and the median of each."""

import statistics
import time
from collections.abc import Callable


def medians(
    contestants: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Seconds that each contestant takes: the median of `repeats` rounds, after one that does not count.

    In a round each contestant runs once, so that what else the machine does at the time meets them all.

    Args:
        contestants: what to run, by name.
        repeats: rounds that count; an odd number has a middle.
        clock: by default the processor time of this process with all its threads, which a busy machine disturbs
            least. It does not see other processes: `time.perf_counter` is for contestants that start some.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(repeats + 1):
        for name, run in contestants.items():
            started = clock()
            run()
            if round_ > 0:
                taken[name].append(clock() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
