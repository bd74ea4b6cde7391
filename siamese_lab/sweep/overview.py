"""Show the progress of a sweep: a table of strategies × data sets, and the expected end."""

import os
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from siamese_lab.errors import FullDiskError
from siamese_lab.runs.display import counted, in_blocks, print_plainly
from siamese_lab.sweep.plan import Planned
from siamese_lab.sweep.states import State, States

SIGNS = {"finished": ("●", "green"), "running": ("◐", "cyan"), "failed": ("✗", "red"), "left": ("·", "dim")}
TITLE = "Recall@1 on test images, mean over seeds"
LEGEND = "● finished  ◐ running  ✗ failed  · left"
MOST_SIGNS = 10
"""Largest number of seeds that have a sign each. Of more seeds, a cell counts the signs."""
PERIOD = 1.0
"""Seconds between two updates from the files."""


class Overview:
    """Draws the progress from its own thread until it is stopped; prints one line for each run if there is no terminal.

    Args:
        console: the console to draw on.
        states: the states of the runs.
    """

    def __init__(self, console: Console, states: States) -> None:
        self.console = console
        self.states = states
        self.forecast = Forecast(states.runs, states.read())
        self._reported: set[int] = {index for index, state in enumerate(states.read()) if state.what == "finished"}
        self._ended = threading.Event()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Start drawing."""
        if self._live is not None:
            self._live.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop drawing and release the terminal."""
        self._ended.set()
        self._thread.join()
        self._update()
        if self._live is not None:
            self._live.stop()

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD):
            self._update()

    def _update(self) -> None:
        states = self.states.read()
        end = self.forecast.end(states)
        if self._live is not None:
            core_hours = self.forecast.core_hours(states)
            self._live.update(drawing(self.console, self.states.runs, states, end, core_hours), refresh=True)
        else:
            self._print_new_outcomes(states, end)

    def _print_new_outcomes(self, states: Sequence[State], end: datetime | None) -> None:
        done = sum(state.what in ("finished", "failed") for state in states)
        for index, (run, state) in enumerate(zip(self.states.runs, states, strict=True)):
            if state.what in ("finished", "failed") and index not in self._reported:
                self._reported.add(index)
                outcome = f"Recall@1 {percent(state.recall)}" if state.what == "finished" else failure(state)
                then = f", expected to end at {clock(end)}" if end is not None else ""
                print_plainly(
                    self.console, f"{clock(datetime.now())}  {done}/{len(states)}  {run.name}  {outcome}{then}"
                )


class Forecast:
    """Estimates the end of a sweep from the time that its runs have taken so far.

    Args:
        runs: the runs of the sweep.
        before: the states of the runs when the sweep started.
    """

    def __init__(self, runs: Sequence[Planned], before: Sequence[State]) -> None:
        self.runs = runs
        self.before = before
        self.started = time.monotonic()

    def end(self, states: Sequence[State]) -> datetime | None:
        """Return the expected end; None before there is enough data, or if no run remains."""
        spent = time.monotonic() - self.started
        costs = self._costs(states)
        if costs is None:
            return None
        done = sum(
            cost * (after.share - earlier.share)
            for cost, after, earlier in zip(costs, states, self.before, strict=True)
        )
        left = remaining(costs, states)
        return datetime.now() + timedelta(seconds=spent * left / done) if done > 0 and left > 0 else None

    def core_hours(self, states: Sequence[State]) -> float | None:
        """Return the hours of one core that the remaining runs need; None before there is enough data."""
        costs = self._costs(states)
        if costs is None:
            return None
        threads = [run.choices.get("threads") or os.cpu_count() or 1 for run in self.runs]
        return remaining([cost * each for cost, each in zip(costs, threads, strict=True)], states) / 3600

    def _costs(self, states: Sequence[State]) -> list[float] | None:
        """Estimate the seconds of each run from the seconds per step of finished runs of its data set, else of all."""
        took = [(run, state.seconds) for run, state in zip(self.runs, states, strict=True) if state.seconds is not None]
        if not took:
            return None
        return [
            run.steps
            * seconds_per_step([(other, seconds) for other, seconds in took if other.data == run.data] or took)
            for run in self.runs
        ]


def seconds_per_step(took: Sequence[tuple[Planned, float]]) -> float:
    """Return the mean duration of a step over runs with their durations."""
    return sum(seconds for _, seconds in took) / sum(run.steps for run, _ in took)


def remaining(costs: Sequence[float], states: Sequence[State]) -> float:
    """Return the part of the costs of all runs that is still to come."""
    left = [state.what in ("left", "running") for state in states]
    return sum(cost * (1 - state.share) for cost, state, is_left in zip(costs, states, left, strict=True) if is_left)


def drawing(
    console: Console,
    runs: Sequence[Planned],
    states: Sequence[State],
    end: datetime | None,
    core_hours: float | None = None,
) -> Group:
    """Return the table of the sweep with a line of counts and a legend below."""
    what = [state.what for state in states]
    counts = ", ".join(f"{what.count(each)} {each}" for each in SIGNS if each in what)
    expected = f"   expected to end at {clock(end)}" if end is not None else ""
    if core_hours:
        expected += f", {core_hours:.1f} core-hours left"
    total = Text(f"{counts} of {counted(len(states), 'run')}{expected}")
    return Group(Text(TITLE, style="italic"), *tables(console, runs, states), total, Text(LEGEND, style="dim"))


def tables(console: Console, runs: Sequence[Planned], states: Sequence[State]) -> list[Table]:
    """Return the table of data sets × strategies, in several parts if it is wider than the console.

    A cell has a sign for each seed, or the numbers of signs, and the mean Recall@1 of the finished runs.
    """
    samplers = list(dict.fromkeys(run.sampler for run in runs))

    def with_samplers(indices: Sequence[int]) -> Table:
        drawn = Table()
        shown = [samplers[index] for index in indices]
        for column in ("", *shown):
            drawn.add_column(column, no_wrap=True)
        for data in dict.fromkeys(run.data for run in runs):
            cells = [
                cell(
                    [
                        state
                        for run, state in zip(runs, states, strict=True)
                        if (run.data, run.sampler) == (data, sampler)
                    ]
                )
                for sampler in shown
            ]
            drawn.add_row(data, *cells)
        return drawn

    return in_blocks(console, len(samplers), with_samplers)


def cell(states: Sequence[State]) -> Text:
    """Return the table cell of one strategy on one data set."""
    text, what = Text(), [state.what for state in states]
    if len(states) <= MOST_SIGNS:
        for each in what:
            text.append(*SIGNS[each])
    else:
        counts = {SIGNS[each]: what.count(each) for each in SIGNS if each in what}
        text.append(Text(" ").join(Text(f"{number} {sign}", style) for (sign, style), number in counts.items()))
    recalls = [state.recall for state in states if state.recall is not None]
    if recalls:
        text.append(f" {percent(sum(recalls) / len(recalls))}")
    elif running := [state.share for state in states if state.what == "running"]:
        text.append(f" {max(running):.0%} of steps", style="dim")
    return text


def failure(state: State) -> str:
    """Return why a run failed. A full disk ends the sweep, and its last message describes it."""
    full = (state.error or "").startswith(FullDiskError.__name__)
    return "failed: the disk is full" if full else f"failed: {state.error}"


def percent(value: float | None) -> str:
    """Return a share as a percentage."""
    return "–" if value is None else f"{value:.1%}"


def clock(when: datetime) -> str:
    """Return the time of day, with the date if it is not today."""
    return f"{when:%H:%M}" if when.date() == datetime.now().date() else f"{when:%Y-%m-%d %H:%M}"
