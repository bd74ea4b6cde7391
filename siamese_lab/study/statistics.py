"""Estimate means over seeds and differences between two strategies with the same seeds.

Intervals and tests are Student's. Strategies share initial weights and images for each seed, so their difference is
computed seed by seed (the paired t-test). Effects are Cohen's d_z, the mean difference over the standard
deviation of the differences, with Hedges' correction for few seeds (Hedges 1981; Lakens 2013,
doi:10.3389/fpsyg.2013.00863). They need ten seeds: with fewer, they vary too much. Families of tests use the correction
of Holm 1979.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

LEVEL = 0.95
ALPHA = 0.05
SEEDS_OF_EFFECT = 10
"""Smallest number of seeds for an effect size."""
ROUNDING = 1e-9
"""Standard deviations below this value are rounding errors and count as 0."""


class Estimate(NamedTuple):
    """A mean with its confidence interval; the interval and the deviation are None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    deviation: float | None
    """Standard deviation with ddof=1."""
    number: int


class Difference(NamedTuple):
    """The mean difference over the seeds that two strategies share."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    """Two-sided p-value without correction; None for a single seed or a constant nonzero difference."""
    effect: float | None
    """Hedges' g_z; None for fewer than `SEEDS_OF_EFFECT` seeds or if the difference does not vary."""
    number: int


def estimate(values: ArrayLike) -> Estimate:
    """Return the mean of at least one value, with its 95% t-interval."""
    values_S = np.asarray(values, dtype=np.float64)
    mean, number = float(values_S.mean()), len(values_S)
    if number < 2:
        return Estimate(mean, None, None, None, number)
    deviation = float(values_S.std(ddof=1))
    if deviation < ROUNDING:
        return Estimate(mean, mean, mean, 0.0, number)
    half = t_quantile(0.5 + LEVEL / 2, number - 1) * deviation / math.sqrt(number)
    return Estimate(mean, mean - half, mean + half, deviation, number)


def difference(values: ArrayLike, baseline: ArrayLike) -> Difference:
    """Return the mean of `values` minus `baseline`; both have the same seeds in the same order."""
    differences_S = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    mean, low, high, deviation, number = estimate(differences_S)
    if deviation is None:
        return Difference(mean, None, None, None, None, number)
    if deviation == 0:
        return Difference(mean, low, high, 1.0 if abs(mean) < ROUNDING else None, None, number)
    t = mean / (deviation / math.sqrt(number))
    effect = unbiased_effect(mean / deviation, number - 1) if number >= SEEDS_OF_EFFECT else None
    return Difference(mean, low, high, p_of_t(t, number - 1), effect, number)


def t_quantile(share: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution."""
    return float(scipy.special.stdtrit(freedom, share))


def p_of_t(t: float, freedom: float) -> float:
    """Return the two-sided p-value of a t statistic."""
    return 2 * float(scipy.special.stdtr(freedom, -abs(t)))


def unbiased_effect(d: float, freedom: int) -> float:
    """Remove the upward bias of Cohen's d with the exact factor (Hedges 1981, eq. 6e); needs freedom of at least 2."""
    log = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - math.log(freedom / 2) / 2
    return d * math.exp(log)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p-values of a family, so that the probability of any false positive in the family is at most α.

    A p-value of None (not testable) stays None but counts as a member of the family. Intermediate results of a study
    that still runs therefore meet the same criterion as the final results.
    """
    tested = sorted((p, number) for number, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for position, (p, number) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(p_values) - position)))
        corrected[number] = highest
    return corrected
