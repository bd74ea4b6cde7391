"""Rank strategies over data sets and test the differences of ranks (Demšar 2006, JMLR 7:1-30, §3.2.2).

The blocks are data sets. Each block holds the mean of each strategy over the seeds that all strategies share. Seeds are
not blocks: they repeat one data set, and counting them as further data sets would overstate the certainty of a
difference of ranks (Demšar 2006, §3). Friedman's test permutes strategies within data sets, exactly if that takes few
permutations, because the χ² approximation is poor for so few data sets. Average ranks differ significantly if their
distance exceeds Nemenyi's critical difference.
"""

import math
from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.statistics import ALPHA

NO_ALTERNATIVES: Mapping[str, str] = MappingProxyType({})
PERMUTATIONS = 20_000
"""Number of random permutations if the exact test needs more than this number."""


class Ranks(NamedTuple):
    """The ranks of strategies over data sets; rank 1 is the best, and equal means share the mean of their ranks."""

    average: dict[str, float]
    """Average rank of each strategy, the best first."""
    data: list[str]
    """Data sets that have runs of all strategies."""
    left_out: list[str]
    """Data sets that lack a strategy, or lack a seed that all strategies share."""
    unranked: list[tuple[str, str]]
    """Data sets that are left out because another one is ranked, with that one."""
    critical_difference: float
    p: float
    """p-value of Friedman's test: the probability of ranks that agree at least as well if all strategies are equal."""

    @property
    def indistinguishable(self) -> list[list[str]]:
        """Return the longest groups of consecutive strategies, by rank, that lie within the critical difference."""
        reach = [
            [name for name, rank in self.average.items() if 0 <= rank - best <= self.critical_difference]
            for best in self.average.values()
        ]
        return [
            each
            for start, each in enumerate(reach)
            if len(each) > 1 and not any(set(each) <= set(wider) for wider in reach[:start])
        ]

    @property
    def significant_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs with average ranks further apart than the critical difference, better strategy first.

        The list is empty unless Friedman's test rejects.
        """
        pairs = combinations(self.average.items(), 2)
        far = [(better, worse) for (better, low), (worse, high) in pairs if high - low > self.critical_difference]
        return far if self.p <= ALPHA else []


def rank(
    values: pd.DataFrame, higher_is_better: bool = True, instead: Mapping[str, str] = NO_ALTERNATIVES
) -> Ranks | None:
    """Rank strategies by their mean over seeds.

    Return None for fewer than 2 strategies, or fewer than 2 data sets that have runs of all strategies.

    Args:
        values: values by data set and strategy (index) and seed (columns), from `comparison.values_of_metric`.
        higher_is_better: whether rank 1 is the highest mean.
        instead: data sets that are left out if another one is ranked, by the name of the data set that is left out.
    """
    strategies = sort_strategies(values.index.get_level_values("strategy"))
    data = unique(values.index.get_level_values("data"))
    means = {name: mean for name in data if (mean := _means_of_common_seeds(values.loc[name], strategies)) is not None}
    left_out = [name for name in data if name not in means]
    unranked = [(name, instead[name]) for name in means if instead.get(name) in means]
    for name, _ in unranked:
        del means[name]
    if len(means) < 2 or len(strategies) < 2:
        return None
    value_ND = np.stack([means[name] for name in means])
    ranks_ND = scipy.stats.rankdata(-value_ND if higher_is_better else value_ND, axis=1)
    average = sorted(zip(strategies, ranks_ND.mean(axis=0).tolist(), strict=True), key=lambda each: each[1])
    return Ranks(
        dict(average),
        list(means),
        left_out,
        unranked,
        critical_difference(len(strategies), len(means)),
        friedman_p(ranks_ND),
    )


def _means_of_common_seeds(of_data: pd.DataFrame, strategies: list[str]) -> NDArray[np.float64] | None:
    if set(of_data.index) != set(strategies):
        return None
    common = of_data.loc[strategies].dropna(axis="columns")
    # Rounding makes equal values tie whatever the order of their summation.
    return common.mean(axis="columns").round(9).to_numpy() if common.shape[1] else None


def critical_difference(strategies: int, data: int) -> float:
    """Return Nemenyi's critical difference of average ranks at 5% for the given numbers of strategies and data sets."""
    q = scipy.stats.studentized_range.ppf(1 - ALPHA, strategies, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(strategies * (strategies + 1) / (6 * data)))


def friedman_p(ranks_ND: NDArray[np.float64]) -> float:
    """Return the probability that rank sums spread at least this far if N data sets rank strategies by chance."""

    def spread(*ranks: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        # This grows with Friedman's statistic, because permutations do not change the ties.
        return np.square(np.stack(ranks).sum(axis=axis)).sum(axis=0)

    tested = scipy.stats.permutation_test(
        tuple(ranks_ND.T),
        spread,
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(tested.pvalue)
