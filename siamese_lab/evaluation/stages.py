"""The stages of an evaluation: how long each takes, and on a terminal a bar that moves while it does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

REFRESHES = 4
"""In a second."""


class Stages:
    """Times what runs within `running`, and shows it.

    Args:
        console: where to draw; None draws nothing. A bar does not stay, and none is drawn into a file.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def running(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A stage; what is yielded moves its bar on by so many of `total`, without which the bar only moves."""
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
