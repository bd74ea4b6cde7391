"""The status of each cell of a study, from its runs and from the same runs with twice the steps.

A cell is a strategy on a data set. It counts in the answer if it has converged (doubling its steps moves it by at most
half a point and turns the sign of no difference), is above raw pixels, and has not collapsed. The answer states the
differences of cells that are cut off apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import Literal, NamedTuple

from siamese_lab.runs.results import Results
from siamese_lab.study.pairs import BOUND
from siamese_lab.study.references import RAW
from siamese_lab.study.runs import Study

MOST_MOVED = 0.005
"""Largest change of a converged cell when its steps are doubled: half a point."""
Status = Literal["converged", "cut off", "below floor", "collapsed", "not checked"]
ROUNDING = 1e-9
COUNTED: tuple[Status, ...] = ("converged", "not checked")
"""Status of a cell that counts in the answer without a limit. The answer says where convergence was not checked."""
STEPS = "trainer.max_steps"
NO_VALUES: Mapping[int, tuple[float, float]] = MappingProxyType({})
Statuses = Mapping[tuple[str, str], "CellStatus"]
"""Status of each data set and strategy."""


class CellStatus(NamedTuple):
    """The status of a cell and the figures that it follows from."""

    status: Status
    moved: float | None
    """Change of the mean metric when the steps are doubled; None without runs of twice the steps."""
    doubled_seeds: int
    """Number of seeds of that change: those with runs of both numbers of steps."""
    turned: tuple[str, ...]
    """Strategies to which the difference turns its sign when the steps are doubled."""
    above_floor: float | None
    """Mean metric minus that of raw pixels or raw features; None if the runs have no such floor."""
    collapsed: float | None
    """Share of collapsed runs; None if no run says whether it has collapsed."""
    at_both: Mapping[int, tuple[float, float]] = NO_VALUES
    """Metric at the study's number of steps and at twice the steps, by seed."""


def cell_statuses(
    runs: Iterable[Results], doubled: Iterable[Results], metric: str = "recall@1", tie: float = 0.0
) -> dict[str, CellStatus]:
    """Return the status of each strategy on one data set.

    The first that applies: "collapsed" if at least half of the runs have collapsed; "below floor" if the mean is not
    above raw pixels; "not checked" without runs of twice the steps; "cut off" if doubling the steps moves the mean by
    more than half a point or turns the sign of a difference; "converged".

    Only finished runs count. Means at both budgets are over the seeds that both have; differences are over the seeds
    that both strategies have at both budgets.

    Args:
        runs: the runs of the study on this data set.
        doubled: the same runs with twice the steps.
        metric: name of the test metric, a fraction in 0…1.
        tie: differences up to this size have no sign that could turn.
    """
    of_strategy, of_doubled = _by_strategy(runs), _by_strategy(doubled)
    values = {name: _values(each, metric) for name, each in of_strategy.items()}
    later = {name: _values(each, metric) for name, each in of_doubled.items()}
    statuses = {}
    for name, own_runs in of_strategy.items():
        if not values[name]:
            continue
        both = values[name].keys() & later.get(name, {}).keys()
        at_both = {seed: (values[name][seed], later[name][seed]) for seed in sorted(both)}
        moved = fmean(after - before for before, after in at_both.values()) if both else None
        turned = tuple(other for other in values if other != name and _turns(values, later, name, other, tie))
        above, collapsed = _above_floor(own_runs, metric), _collapsed(own_runs)
        status = _status(moved, turned, above, collapsed)
        statuses[name] = CellStatus(status, moved, len(both), turned, above, collapsed, at_both)
    return statuses


def study_statuses(study: Study, metric: str = "recall@1") -> dict[tuple[str, str], CellStatus]:
    """Return the status of each data set and strategy. Differences within the bound of equivalence have no sign.

    The runs of twice the steps are those of the factor "steps", with everything else at its standard value.
    """
    statuses: dict[tuple[str, str], CellStatus] = {}
    for data in study.data:
        runs = [run.results for run in study.finished if run.data == data]
        steps = {run.choices.get("trainer", {}).get("max_steps") for run in runs}
        doubled = [
            placed.run.results
            for placed in study.factors
            if placed.run.data == data
            and placed.options.keys() == {STEPS}
            and any(isinstance(each, int) and placed.options[STEPS] == 2 * each for each in steps)
        ]
        statuses |= {(data, name): each for name, each in cell_statuses(runs, doubled, metric, BOUND).items()}
    return statuses


def in_short(statuses: Statuses, data: str, strategies: Iterable[str]) -> str:
    """Return the status of some strategies on a data set: one word if all are equal, otherwise one for each."""
    of_cells = {name: statuses[data, name].status for name in strategies if (data, name) in statuses}
    if len(set(of_cells.values())) <= 1:
        return next(iter(of_cells.values()), "")
    return "; ".join(f"{name}: {status}" for name, status in of_cells.items())


def _status(moved: float | None, turned: tuple[str, ...], above_floor: float | None, collapsed: float | None) -> Status:
    if collapsed is not None and collapsed >= 0.5:
        return "collapsed"
    if above_floor is not None and above_floor <= 0:
        return "below floor"
    if moved is None:
        return "not checked"
    return "cut off" if turned or abs(moved) > MOST_MOVED + ROUNDING else "converged"


def _by_strategy(runs: Iterable[Results]) -> dict[str, list[Results]]:
    found: dict[str, list[Results]] = {}
    for run in runs:
        if run.status == "finished":
            found.setdefault(run.sampler, []).append(run)
    return found


def _values(runs: Sequence[Results], metric: str) -> dict[int, float]:
    """Return the metric by seed, of the runs that have it."""
    return {run.seed: value for run in runs if (value := run.test.get(metric)) is not None}


def _turns(
    values: Mapping[str, Mapping[int, float]],
    later: Mapping[str, Mapping[int, float]],
    one: str,
    other: str,
    tie: float,
) -> bool:
    """Return whether the mean difference of two strategies has opposite signs at both budgets."""
    seeds = values[one].keys() & values[other].keys() & later.get(one, {}).keys() & later.get(other, {}).keys()
    if not seeds:
        return False
    first, second = (fmean(each[one][seed] - each[other][seed] for seed in seeds) for each in (values, later))
    return first * second < 0 and min(abs(first), abs(second)) > tie


def _above_floor(runs: Sequence[Results], metric: str) -> float | None:
    gaps = [
        value - floor
        for run in runs
        if (value := run.test.get(metric)) is not None
        for name in RAW
        if (floor := run.floors.get(name, {}).get(metric)) is not None
    ]
    return fmean(gaps) if gaps else None


def _collapsed(runs: Sequence[Results]) -> float | None:
    known = [run.collapsed for run in runs if run.collapsed is not None]
    return fmean(known) if known else None
