"""Time the stages of an evaluation, and show a progress bar on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

REFRESHES = 4
"""Number of redraws of the progress bar per second."""


class Stages:
    """Times the blocks that run inside `running`, and shows their progress.

    Args:
        console: console that shows the progress bars. None shows none. A bar disappears when its stage ends. No bar
            is drawn if the output is not a terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def running(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Run one stage. Yield a function that advances the bar by a number of steps.

        Args:
            name: name of the stage.
            total: number of steps. None shows a bar without an end.
        """
        started = time.perf_counter()
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            refresh_per_second=REFRESHES,
            disable=self.console is None or not self.console.is_terminal,
        )
        with bar:
            task = bar.add_task(name, total=total)
            yield lambda count: bar.advance(task, count)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
