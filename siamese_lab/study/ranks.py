"""How strategies rank over data sets, and by how much ranks must differ to tell (Demšar 2006, JMLR 7:1-30, §3.2.2).

The blocks are data sets, each with the strategies' means over the seeds that all of them have. Seeds are no blocks:
they are repeats on one data set, and to count them as further data sets would make a difference of ranks look surer
than it is (Demšar 2006, §3). Friedman's statistic is judged by permuting strategies within data sets, exactly where
that takes few permutations, as his χ² is no good for so few data sets. Average ranks that differ by more than Nemenyi's
critical difference are told apart.
"""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.statistics import ALPHA

PERMUTATIONS = 20_000
"""StoredFigure where there are more than this many."""


class Ranks(NamedTuple):
    """Of strategies over data sets; 1 is the best, and equal means share the mean of their ranks."""

    average: dict[str, float]
    """The best first."""
    data: list[str]
    """The data sets that all strategies were run on."""
    left_out: list[str]
    """Those that lack a strategy, or a seed that all strategies have."""
    critical_difference: float
    p: float
    """Of Friedman's test: how often ranks agree as well or better where strategies are all alike."""

    @property
    def alike(self) -> list[list[str]]:
        """The longest runs of strategies, by rank, that the critical difference does not part."""
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
        """Pairs whose average ranks differ by more than the critical difference, the better one first.

        None unless Friedman's test finds any difference.
        """
        pairs = combinations(self.average.items(), 2)
        far = [(better, worse) for (better, low), (worse, high) in pairs if high - low > self.critical_difference]
        return far if self.p <= ALPHA else []


def rank(values: pd.DataFrame, higher_is_better: bool = True) -> Ranks | None:
    """Ranks by the mean over seeds; None for fewer than 2 strategies or 2 data sets that all were run on.

    Args:
        values: of each data set and strategy (index) and seed (columns), as `comparison.values_of_metric` gives.
        higher_is_better: whether rank 1 is of the highest mean.
    """
    strategies = sort_strategies(values.index.get_level_values("strategy"))
    data = unique(values.index.get_level_values("data"))
    means = {name: mean for name in data if (mean := _means_of_common_seeds(values.loc[name], strategies)) is not None}
    if len(means) < 2 or len(strategies) < 2:
        return None
    value_ND = np.stack([means[name] for name in means])
    ranks_ND = scipy.stats.rankdata(-value_ND if higher_is_better else value_ND, axis=1)
    average = sorted(zip(strategies, ranks_ND.mean(axis=0).tolist(), strict=True), key=lambda each: each[1])
    return Ranks(
        dict(average),
        list(means),
        [name for name in data if name not in means],
        critical_difference(len(strategies), len(means)),
        friedman_p(ranks_ND),
    )


def _means_of_common_seeds(of_data: pd.DataFrame, strategies: list[str]) -> NDArray[np.float64] | None:
    if set(of_data.index) != set(strategies):
        return None
    common = of_data.loc[strategies].dropna(axis="columns")
    # Rounded, so that equal figures tie in whatever order they were added up.
    return common.mean(axis="columns").round(9).to_numpy() if common.shape[1] else None


def critical_difference(strategies: int, data: int) -> float:
    """Nemenyi's, at 5%: between the average ranks of so many strategies over so many data sets."""
    q = scipy.stats.studentized_range.ppf(1 - ALPHA, strategies, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(strategies * (strategies + 1) / (6 * data)))


def friedman_p(ranks_ND: NDArray[np.float64]) -> float:
    """How often rank sums spread as far or farther when each of N data sets ranks its strategies by chance."""

    def spread(*ranks: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        # Grows with Friedman's statistic, which has the same ties whatever is permuted.
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
