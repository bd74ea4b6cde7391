"""How long a strategy takes to reach a validation Recall@1: the seconds of training and the triplets it selected.

A run has reached a level at its first validation that is at least that good; between two validations nothing is known,
so these are upper ends. A run that never did is counted and given no time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.runs import VALIDATION_METRIC

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


class TimeToRecall(NamedTuple):
    """The runs of one strategy on one data set, and one level."""

    data: str
    strategy: str
    level: float
    runs: int
    reached: int
    """How many of the runs."""
    steps: list[int]
    """Of each run that did, and likewise:"""
    triplets: list[int]
    seconds: list[float]
    at_once: bool
    """Whether all runs were there at their first validation."""


def times_to_recall(curves: pd.DataFrame, levels: Sequence[float]) -> list[TimeToRecall]:
    """For every data set, level and strategy, in this order, of what `runs.curves` gives."""
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
    """Those of levels, by data set, that some run has reached and not every run at its first validation."""
    by_level: dict[tuple[str, float], list[TimeToRecall]] = {}
    for each in reached:
        by_level.setdefault((each.data, each.level), []).append(each)
    told = [of_level for of_level in by_level.values() if any(each.reached for each in of_level)]
    return [each for of_level in told if not all(one.at_once for one in of_level) for each in of_level]
