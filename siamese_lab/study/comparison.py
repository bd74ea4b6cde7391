"""Every strategy beside random sampling on every data set, seed by seed; the tests of one metric are a family."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study import statistics
from siamese_lab.study.statistics import ALPHA, Difference, Estimate

BASELINE = "random"


class Comparison(NamedTuple):
    """A strategy and random sampling on one data set."""

    data: str
    strategy: str
    difference: Difference
    corrected_p: float | None
    """By Holm, over all strategies and data sets."""

    @property
    def significant(self) -> bool:
        """Whether the data tell the two apart."""
        return self.corrected_p is not None and self.corrected_p <= ALPHA


def values_of_metric(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the value of each data set and strategy (index) and seed (columns); NaN where there is none.

    Data sets keep the order in which `figures` lists them.
    """
    chosen = figures[figures["metric"] == metric]
    values = chosen.pivot(index=["data", "strategy"], columns="seed", values="value")
    return values.reindex(pd.MultiIndex.from_frame(chosen[["data", "strategy"]].drop_duplicates()))


def cells(values: pd.DataFrame) -> list[tuple[str, str]]:
    """The data sets and strategies that there are figures of, in order, of what `values_of_metric` gives."""
    data, strategies = (values.index.get_level_values(level) for level in ("data", "strategy"))
    grid = product(unique(data), sort_strategies(strategies))
    return [cell for cell in grid if cell in values.index]


def estimates(values: pd.DataFrame) -> dict[tuple[str, str], Estimate]:
    """The mean over seeds of each of the `cells`."""
    return {cell: statistics.estimate(values.loc[cell].dropna()) for cell in cells(values)}


def compare_with_baseline(values: pd.DataFrame) -> list[Comparison]:
    """Every other strategy against random sampling, where both have a seed in common, of what `values_of_metric` gives."""
    compared = []
    for data, strategy in cells(values):
        if strategy != BASELINE and (data, BASELINE) in values.index:
            ours, theirs = (values.loc[(data, name)].to_numpy() for name in (strategy, BASELINE))
            common = ~np.isnan(ours) & ~np.isnan(theirs)
            if common.any():
                compared.append((data, strategy, statistics.difference(ours[common], theirs[common])))
    corrected = statistics.holm([difference.p for *_, difference in compared])
    return [Comparison(*each, p) for each, p in zip(compared, corrected, strict=True)]
