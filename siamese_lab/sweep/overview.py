"""A sweep at a glance: a table of strategies × data sets that fills up, and when it is expected to end."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from siamese_lab.runs.display import print_plainly
from siamese_lab.sweep.plan import Planned
from siamese_lab.sweep.states import State, States

SIGNS = {"finished": ("●", "green"), "running": ("◐", "cyan"), "failed": ("✗", "red"), "left": ("·", "dim")}
LEGEND = "● finished  ◐ running  ✗ failed  · left"
PERIOD = 1.0
"""Seconds between two looks at the files."""


class Overview:
    """Looks and draws from a thread of its own until it is stopped; into a log file it prints a line for each run.

    Args:
        console: where to draw.
        states: what to look at.
    """

    def __init__(self, console: Console, states: States) -> None:
        self.console = console
        self.states = states
        self.forecast = Forecast(states.runs, states.read())
        self._told: set[int] = {place for place, state in enumerate(states.read()) if state.what == "finished"}
        self._ended = threading.Event()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        self._thread.start()

    def stop(self) -> None:
        """Draw no more, and give the terminal back."""
        self._ended.set()
        self._thread.join()
        self._look()
        if self._live is not None:
            self._live.stop()

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD):
            self._look()

    def _look(self) -> None:
        states = self.states.read()
        end = self.forecast.end(states)
        if self._live is not None:
            self._live.update(drawing(self.states.runs, states, end), refresh=True)
        else:
            self._tell(states, end)

    def _tell(self, states: Sequence[State], end: datetime | None) -> None:
        done = sum(state.what in ("finished", "failed") for state in states)
        for place, (run, state) in enumerate(zip(self.states.runs, states, strict=True)):
            if state.what in ("finished", "failed") and place not in self._told:
                self._told.add(place)
                outcome = f"Recall@1 {percent(state.recall)}" if state.what == "finished" else f"failed: {state.error}"
                then = f", expected to end at {clock(end)}" if end is not None else ""
                print_plainly(
                    self.console, f"{clock(datetime.now())}  {done}/{len(states)}  {name(run)}  {outcome}{then}"
                )


class Forecast:
    """When a sweep will have ended, judged by what its runs have taken so far.

    Args:
        runs: of the sweep.
        before: how they stood when it started.
    """

    def __init__(self, runs: Sequence[Planned], before: Sequence[State]) -> None:
        self.runs = runs
        self.before = before
        self.started = time.monotonic()

    def end(self, states: Sequence[State]) -> datetime | None:
        """By the clock; None while nothing can be told, or nothing is left."""
        spent = time.monotonic() - self.started
        costs = self._costs(states)
        if costs is None:
            return None
        done = sum(
            cost * (after.share - earlier.share)
            for cost, after, earlier in zip(costs, states, self.before, strict=True)
        )
        left = sum(
            cost * (1 - state.share)
            for cost, state in zip(costs, states, strict=True)
            if state.what in ("left", "running")
        )
        return datetime.now() + timedelta(seconds=spent * left / done) if done > 0 and left > 0 else None

    def _costs(self, states: Sequence[State]) -> list[float] | None:
        """Seconds of each run: as the finished ones of its data set took; else per step as all of them."""
        took = [(run, state.seconds) for run, state in zip(self.runs, states, strict=True) if state.seconds is not None]
        if not took:
            return None
        per_step = sum(seconds for _, seconds in took) / sum(run.steps for run, _ in took)
        of_data = {
            data: [seconds for run, seconds in took if run.data == data] for data in {run.data for run, _ in took}
        }
        return [
            sum(of_data[run.data]) / len(of_data[run.data]) if run.data in of_data else per_step * run.steps
            for run in self.runs
        ]


def drawing(runs: Sequence[Planned], states: Sequence[State], end: datetime | None) -> Group:
    """The table, with a line of counts below."""
    what = [state.what for state in states]
    counts = ", ".join(f"{what.count(each)} {each}" for each in SIGNS if each in what)
    expected = f"   expected to end at {clock(end)}" if end is not None else ""
    return Group(table(runs, states), Text(f"{counts} of {len(states)} runs{expected}"), Text(LEGEND, style="dim"))


def table(runs: Sequence[Planned], states: Sequence[State]) -> Table:
    """Data sets × strategies: a sign for each seed, and the mean Recall@1 of those that are finished."""
    drawn = Table(title="Recall@1 on test images, mean over seeds", title_justify="left")
    samplers = list(dict.fromkeys(run.sampler for run in runs))
    for column in ("", *samplers):
        drawn.add_column(column)
    for data in dict.fromkeys(run.data for run in runs):
        cells = [
            cell([state for run, state in zip(runs, states, strict=True) if (run.data, run.sampler) == (data, sampler)])
            for sampler in samplers
        ]
        drawn.add_row(data, *cells)
    return drawn


def cell(states: Sequence[State]) -> Text:
    """One strategy on one data set."""
    text = Text()
    for state in states:
        text.append(*SIGNS[state.what])
    recalls = [state.recall for state in states if state.recall is not None]
    if recalls:
        text.append(f" {percent(sum(recalls) / len(recalls))}")
    elif running := [state.share for state in states if state.what == "running"]:
        text.append(f" {max(running):.0%} of steps", style="dim")
    return text


def name(run: Planned) -> str:
    """Of a run, as its folder is called."""
    return f"{run.data}/{run.sampler}/seed={run.seed}"


def percent(value: float | None) -> str:
    """In per cent."""
    return "–" if value is None else f"{value:.1%}"


def clock(when: datetime) -> str:
    """The time of the day, with the day where it is another."""
    return f"{when:%H:%M}" if when.date() == datetime.now().date() else f"{when:%Y-%m-%d %H:%M}"
