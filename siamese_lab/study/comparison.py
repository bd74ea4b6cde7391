"""Every strategy beside random sampling on every data set, seed by seed; the tests of one metric are a family."""

from typing import NamedTuple

import pandas as pd

from siamese_lab.study import statistics
from siamese_lab.study.names import in_order_of_data, in_order_of_strategies
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
    def separated(self) -> bool:
        """Whether the data tell the two apart."""
        return self.corrected_p is not None and self.corrected_p <= ALPHA


def of_metric(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The value of each data set, strategy (both in the index) and seed (in the columns); NaN where there is none."""
    chosen = figures[figures["metric"] == metric]
    return chosen.pivot(index=["data", "strategy"], columns="seed", values="value")


def estimates(values: pd.DataFrame) -> dict[tuple[str, str], Estimate]:
    """The mean over seeds of each data set and strategy, in order, of what `of_metric` gives."""
    return {
        (data, strategy): statistics.estimate(values.loc[(data, strategy)].dropna())
        for data in in_order_of_data(values.index.get_level_values("data"))
        for strategy in in_order_of_strategies(values.index.get_level_values("strategy"))
        if (data, strategy) in values.index
    }


def against_baseline(values: pd.DataFrame) -> list[Comparison]:
    """Every other strategy against random sampling, where both have a seed in common, of what `of_metric` gives."""
    compared = []
    for data, strategy in estimates(values):
        if strategy != BASELINE and (data, BASELINE) in values.index:
            common = values.loc[[(data, strategy), (data, BASELINE)]].dropna(axis="columns")
            if common.shape[1]:
                both = common.to_numpy()
                compared.append((data, strategy, statistics.difference(both[0], both[1])))
    corrected = statistics.holm([difference.p for *_, difference in compared])
    return [Comparison(*each, p) for each, p in zip(compared, corrected, strict=True)]
