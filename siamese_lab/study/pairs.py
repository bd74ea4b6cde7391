"""Compare all pairs of strategies on every data set: differences, equivalence, and what could have been detected.

Differences are least-squares estimates, paired by seed (module `pooled`). One pooled variance for all strategies of a
data set gives too many false positives if a strategy such as hard mining varies more than the others. The variance of
each pair is therefore moderated (after Smyth 2004, doi:10.2202/1544-6115.1027): it is the mean of the variance of the
pair's own differences, weighted with its degrees of freedom, and of the pooled variance, which counts as many degrees
of freedom as there are strategies, minus 1. For two strategies this is the paired t-test. `tests/study/simulate.py`
shows the rates of false positives with the variances that the shipped study observed.

The tests of all pairs on all data sets are one family, with Holm's correction. Two strategies are equivalent if two
one-sided t-tests (TOST, Schuirmann 1987) reject that they differ by at least a bound; these tests are another family.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study import pooled, statistics
from siamese_lab.study.improvement import Share, probability_of_improvement
from siamese_lab.study.pooled import Contrast, Layout
from siamese_lab.study.power import detectable_difference, seeds_for_interval
from siamese_lab.study.statistics import ALPHA, LEVEL, ROUNDING, holm, p_of_t, t_quantile

BOUND = 0.005
"""Differences below half a percentage point are of no practical relevance."""


class Pair(NamedTuple):
    """The comparison of two strategies on one data set. Differences are first minus second.

    Without degrees of freedom, for example with one seed, everything that needs a variance is None.
    """

    data: str
    first: str
    second: str
    mean: float
    low: float | None = None
    high: float | None = None
    """The 95% interval of this difference alone."""
    p: float | None = None
    """Two-sided p-value without correction; None also for a constant nonzero difference."""
    corrected_p: float | None = None
    equivalence_p: float | None = None
    """p-value of the two one-sided tests, without correction."""
    corrected_equivalence_p: float | None = None
    detectable: float | None = None
    """The true difference that a test at 5% divided by the size of the family detects with a power of 80%."""
    seeds_needed: int | None = None
    """The number of seeds with which the interval is at most ± the bound of equivalence wide; None if too large."""
    improvement: Share | None = None
    """The share of shared seeds in which the first strategy is better; None if they share no seed."""
    effect: float | None = None
    """Hedges' g_z, as in `statistics.difference`."""
    freedom: float = 0
    """Degrees of freedom of the moderated variance."""
    number: int = 0
    """Number of seeds that both strategies have."""
    pooled_error: float | None = None
    """Standard error with the pooled variance, which is that of the mixed model y ~ strategy + (1 | seed)."""
    pooled_freedom: int = 0

    @property
    def separated(self) -> bool:
        """Return whether the difference is significant."""
        return self.corrected_p is not None and self.corrected_p <= ALPHA

    @property
    def equivalent(self) -> bool:
        """Return whether the difference is significantly smaller than the bound of equivalence."""
        return self.corrected_equivalence_p is not None and self.corrected_equivalence_p <= ALPHA


def compare_pairs(values: pd.DataFrame, bound: float = BOUND, higher_is_better: bool = True) -> list[Pair]:
    """Compare all pairs of strategies on each data set. Pairs that no shared seeds connect are left out.

    Args:
        values: the values of a metric, as returned by `comparison.values_of_metric`.
        bound: bound of equivalence, in the units of the values.
        higher_is_better: whether the higher value is the better one.
    """
    contrasts: list[tuple[str, str, str, Layout, Contrast]] = []
    for data in unique(values.index.get_level_values("data")):
        layout = pooled.fit(values.loc[data])
        # The later strategy comes first: the differences from random sampling are those of the other tables.
        for second, first in combinations(sort_strategies(layout.strategies), 2):
            contrast = layout.contrast(first, second)
            if contrast is not None:
                contrasts.append((data, first, second, layout, contrast))
    pairs = []
    for data, first, second, layout, contrast in contrasts:
        common_2S = values.loc[[(data, first), (data, second)]].dropna(axis="columns").to_numpy()
        pair = _described(Pair(data, first, second, contrast.mean), common_2S, higher_is_better)
        pairs.append(_tested(pair, layout, contrast, common_2S, bound, len(contrasts)))
    corrected = holm([each.p for each in pairs])
    equivalences = holm([each.equivalence_p for each in pairs])
    return [
        each._replace(corrected_p=p, corrected_equivalence_p=equivalence)
        for each, p, equivalence in zip(pairs, corrected, equivalences, strict=True)
    ]


def _described(pair: Pair, common_2S: NDArray[np.float64], higher_is_better: bool) -> Pair:
    number = common_2S.shape[1]
    if not number:
        return pair
    improvement = probability_of_improvement(*common_2S if higher_is_better else common_2S[::-1])
    return pair._replace(number=number, improvement=improvement, effect=statistics.difference(*common_2S).effect)


def _tested(
    pair: Pair, layout: Layout, contrast: Contrast, common_2S: NDArray[np.float64], bound: float, family: int
) -> Pair:
    deviation, freedom = moderated_deviation(layout, common_2S)
    if not freedom:
        return pair
    pair = pair._replace(freedom=freedom, pooled_error=contrast.error, pooled_freedom=layout.freedom)
    if deviation == 0:
        p = 1.0 if abs(pair.mean) < ROUNDING else None
        tost = 0.0 if abs(pair.mean) < bound else 1.0
        return pair._replace(low=pair.mean, high=pair.mean, p=p, equivalence_p=tost, detectable=0.0, seeds_needed=2)
    error = deviation * contrast.scale
    half = t_quantile(0.5 + LEVEL / 2, freedom) * error
    return pair._replace(
        low=pair.mean - half,
        high=pair.mean + half,
        p=p_of_t(pair.mean / error, freedom),
        equivalence_p=equivalence_p(pair.mean, error, freedom, bound),
        detectable=detectable_difference(error, freedom, ALPHA / family),
        seeds_needed=seeds_for_interval(deviation, len(layout.strategies), bound),
    )


def moderated_deviation(layout: Layout, common_2S: NDArray[np.float64]) -> tuple[float, int]:
    """Return the standard deviation of a run that a pair's test uses, and its degrees of freedom.

    The degrees of freedom never exceed those of the pooled variance; they are 0 if there is no variance.

    Args:
        layout: the fit of the data set; its variance is pooled over strategies.
        common_2S: the values of the two strategies for the seeds that they share.
    """
    if not layout.freedom:
        return np.nan, 0
    prior, own = len(layout.strategies) - 1, max(common_2S.shape[1] - 1, 0)
    variance = float(np.var(common_2S[0] - common_2S[1], ddof=1)) / 2 if own else 0.0
    deviation = float(np.sqrt((prior * layout.deviation**2 + own * variance) / (prior + own)))
    return 0.0 if deviation < ROUNDING else deviation, min(prior + own, layout.freedom)


def equivalence_p(mean: float, error: float, freedom: float, bound: float) -> float:
    """Return the larger p-value of the two one-sided t-tests of |difference| ≥ bound."""
    t = (bound - abs(mean)) / error
    half = p_of_t(t, freedom) / 2
    return half if t > 0 else 1 - half
