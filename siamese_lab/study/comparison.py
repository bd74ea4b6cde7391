"""Compare every strategy with random sampling on every data set, seed by seed; the tests of one metric are a family."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study import statistics
from siamese_lab.study.statistics import ALPHA, Difference, Estimate

BASELINE = "random"


class Comparison(NamedTuple):
    """The comparison of a strategy with random sampling on one data set."""

    data: str
    strategy: str
    difference: Difference
    corrected_p: float | None
    """The p-value with Holm's correction for all strategies and data sets."""

    @property
    def significant(self) -> bool:
        """Return True if the difference is significant."""
        return self.corrected_p is not None and self.corrected_p <= ALPHA


def values_of_metric(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the value of each data set and strategy (index) and seed (columns); NaN where there is none.

    Data sets keep the order in which `figures` lists them.
    """
    chosen = figures[figures["metric"] == metric]
    values = chosen.pivot(index=["data", "strategy"], columns="seed", values="value")
    return values.reindex(pd.MultiIndex.from_frame(chosen[["data", "strategy"]].drop_duplicates()))


def cells(values: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of data set and strategy that have values, in the order of the tables.

    Args:
        values: the values of a metric, as returned by `values_of_metric`.
    """
    data, strategies = (values.index.get_level_values(level) for level in ("data", "strategy"))
    grid = product(unique(data), sort_strategies(strategies))
    return [cell for cell in grid if cell in values.index]


def estimates(values: pd.DataFrame) -> dict[tuple[str, str], Estimate]:
    """Estimate the mean over seeds for each pair of data set and strategy."""
    return {cell: statistics.estimate(values.loc[cell].dropna()) for cell in cells(values)}


def compare_with_baseline(values: pd.DataFrame) -> list[Comparison]:
    """Compare every other strategy with random sampling on each data set on which both share a seed.

    Args:
        values: the values of a metric, as returned by `values_of_metric`.
    """
    compared = []
    for data, strategy in cells(values):
        if strategy != BASELINE and (data, BASELINE) in values.index:
            of_strategy, of_baseline = (values.loc[(data, name)].to_numpy() for name in (strategy, BASELINE))
            common = ~np.isnan(of_strategy) & ~np.isnan(of_baseline)
            if common.any():
                compared.append((data, strategy, statistics.difference(of_strategy[common], of_baseline[common])))
    corrected = statistics.holm([difference.p for *_, difference in compared])
    return [Comparison(*each, p) for each, p in zip(compared, corrected, strict=True)]
