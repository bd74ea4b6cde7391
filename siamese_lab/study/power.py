"""Compute the power of t-tests: the difference that a test detects, and the seeds that an interval needs."""

import math
from functools import lru_cache

import numpy as np
import scipy.optimize
import scipy.special

from siamese_lab.study.statistics import ALPHA, t_quantile

POWER = 0.8
"""The probability with which a test detects the difference that `detectable_difference` returns."""
MAX_SEEDS = 10_000
QUANTILES = 4000


def detectable_difference(error: float, freedom: int, level: float = ALPHA, power: float = POWER) -> float:
    """Return the smallest true difference that a two-sided t-test finds significant with the given probability.

    The power follows from the noncentral t distribution; `error` counts as the true standard error.

    Args:
        error: standard error of the difference.
        freedom: degrees of freedom of the standard error, at least 1.
        level: level of significance of the test.
        power: the probability, between `level` and 1.
    """
    return _detectable_noncentrality(freedom, level, power) * error


@lru_cache(maxsize=1000)
def _detectable_noncentrality(freedom: int, level: float, power: float) -> float:
    critical = t_quantile(1 - level / 2, freedom)
    # scipy's noncentral t distribution is NaN at some points, so its tail is averaged over quantiles of χ².
    share_Q = (np.arange(QUANTILES) + 0.5) / QUANTILES
    scaled_Q = critical * np.sqrt(2 * scipy.special.gammaincinv(freedom / 2, share_Q) / freedom)

    def missing_power(noncentrality: float) -> float:
        # At a high power, significant differences of the wrong sign are too rare to count.
        return power - float(scipy.special.ndtr(noncentrality - scaled_Q).mean())

    return float(scipy.optimize.brentq(missing_power, 0.0, float(scaled_Q[-1]) + 10, xtol=1e-6))


def seeds_for_interval(deviation: float, strategies: int, half: float, confidence: float = 1 - ALPHA) -> int | None:
    """Return the number of seeds with which the interval of a difference is at most ± `half` wide.

    Every strategy is assumed to have a run for each seed. Return None if more than `MAX_SEEDS` seeds are needed.

    Args:
        deviation: residual standard deviation of a run, as returned by `pairs.moderated_deviation`.
        strategies: number of strategies of the data set, which gives the degrees of freedom as described there.
        half: half of the width of the interval.
        confidence: confidence of the interval.
    """
    for number in range(2, MAX_SEEDS + 1):
        freedom = min(strategies - 1 + number - 1, (strategies - 1) * (number - 1))
        if t_quantile(0.5 + confidence / 2, freedom) * deviation * math.sqrt(2 / number) <= half:
            return number
    return None
