"""Estimate the probability of improvement: the share of seeds in which one strategy exceeds another.

The idea is that of Agarwal et al. 2021 (arXiv:2108.13264, §4.3), who compare independent runs. Here two strategies
share initial weights and images for each seed, so their runs are compared seed by seed, and the interval is that of
Clopper and Pearson 1934. It covers at least at its rate, also for few seeds.
"""

from typing import NamedTuple

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from siamese_lab.study.statistics import LEVEL


class Share(NamedTuple):
    """A share with its interval."""

    share: float
    low: float
    high: float


def probability_of_improvement(values: ArrayLike, others: ArrayLike, confidence: float = LEVEL) -> Share:
    """Return the share of seeds in which `values` exceed `others`. A tie counts half.

    For the interval, ties count for whichever side makes it longer.

    Args:
        values: the values of one strategy, at least one.
        others: the values of the other strategy for the same seeds in the same order.
        confidence: confidence of the interval.
    """
    difference_S = np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    number, wins, ties = len(difference_S), int((difference_S > 0).sum()), int((difference_S == 0).sum())
    low, _ = exact_interval(wins, number, confidence)
    _, high = exact_interval(wins + ties, number, confidence)
    return Share((wins + ties / 2) / number, low, high)


def exact_interval(successes: int, number: int, confidence: float = LEVEL) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson for a share."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(scipy.special.betaincinv(successes, number - successes + 1, tail))
    high = 1.0 if successes == number else float(scipy.special.betaincinv(successes + 1, number - successes, 1 - tail))
    return low, high
