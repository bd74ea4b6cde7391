"""Measure the seconds of training and the selected triplets that a strategy needs to reach a validation Recall@1.

A run reaches a level at its first validation with at least that Recall@1. Nothing is known between two validations, so
the times are upper bounds. A run that never reaches the level is counted but has no time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.runs import VALIDATION_METRIC


class TimeToRecall(NamedTuple):
    """The times at which the runs of one strategy on one data set reach one level."""

    data: str
    strategy: str
    level: float
    runs: int
    reached: int
    """Number of runs that reach the level."""
    steps: list[int]
    """Steps of each run that reaches the level; `triplets` and `seconds` list the same runs."""
    triplets: list[int]
    seconds: list[float]
    at_once: bool
    """True if all runs reach the level at their first validation."""


def times_to_recall(curves: pd.DataFrame, levels: Sequence[float]) -> list[TimeToRecall]:
    """Return the times for every data set, level and strategy, in this order.

    Args:
        curves: the validations of all runs, as returned by `runs.curves`.
        levels: levels of validation Recall@1 in 0…1.
    """
    return [
        _reached(curves[(curves["data"] == data) & (curves["strategy"] == strategy)], level)
        for data in unique(curves["data"])
        for level in sorted(set(levels))
        for strategy in sort_strategies(curves.loc[curves["data"] == data, "strategy"])
    ]


def _reached(of_cell: pd.DataFrame, level: float) -> TimeToRecall:
    in_time = of_cell.sort_values(["seed", "step"])
    first_of_all = in_time.groupby("seed").head(1)
    first = in_time[in_time[VALIDATION_METRIC] >= level].groupby("seed").head(1)
    cell = of_cell.iloc[0]
    return TimeToRecall(
        cell["data"],
        cell["strategy"],
        level,
        len(first_of_all),
        len(first),
        first["step"].tolist(),
        first["triplets"].tolist(),
        first["seconds"].tolist(),
        bool((first_of_all[VALIDATION_METRIC] >= level).all()),
    )


def informative_levels(reached: Sequence[TimeToRecall]) -> list[TimeToRecall]:
    """Return the times of informative levels: some run reaches them, but not all runs at their first validation."""
    by_level: dict[tuple[str, float], list[TimeToRecall]] = {}
    for each in reached:
        by_level.setdefault((each.data, each.level), []).append(each)
    groups = [of_level for of_level in by_level.values() if any(each.reached for each in of_level)]
    return [each for of_level in groups if not all(one.at_once for one in of_level) for each in of_level]
