"""How sure a mean over seeds is, and a difference between two strategies that were given the same seeds.

Intervals and tests are Student's. Strategies share the weights they start from and the images they see, so their
difference is taken seed by seed (the paired t-test). Effects are Cohen's d_z, the mean difference over the standard
deviation of the differences, with Hedges' correction for few seeds (Hedges 1981; Lakens 2013,
doi:10.3389/fpsyg.2013.00863). Families of tests are corrected as Holm 1979 does.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

LEVEL = 0.95
ALPHA = 0.05
ROUNDING = 1e-9
"""A standard deviation of shares that is due to arithmetic, and none."""


class Estimate(NamedTuple):
    """A mean, with the interval that holds what it estimates; None where a single seed tells none."""

    mean: float
    low: float | None
    high: float | None
    deviation: float | None
    """Standard, with ddof=1."""
    number: int


class Difference(NamedTuple):
    """A mean difference over seeds that both have."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, uncorrected; None for a single seed, and for a difference that is the same in every seed and not 0."""
    effect: float | None
    """Hedges' g_z; None for fewer than 3 seeds or where nothing varies."""
    number: int


def estimate(values: ArrayLike) -> Estimate:
    """The mean of at least one figure, with its 95% t-interval."""
    values_S = np.asarray(values, dtype=np.float64)
    mean, number = float(values_S.mean()), len(values_S)
    if number < 2:
        return Estimate(mean, None, None, None, number)
    deviation = float(values_S.std(ddof=1))
    if deviation < ROUNDING:
        return Estimate(mean, mean, mean, 0.0, number)
    half = float(scipy.special.stdtrit(number - 1, 0.5 + LEVEL / 2)) * deviation / math.sqrt(number)
    return Estimate(mean, mean - half, mean + half, deviation, number)


def difference(ours: ArrayLike, theirs: ArrayLike) -> Difference:
    """How much more the first figures are than the second, which are of the same seeds in the same order."""
    differences_S = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    mean, low, high, deviation, number = estimate(differences_S)
    if deviation is None:
        return Difference(mean, None, None, None, None, number)
    if deviation == 0:
        return Difference(mean, low, high, 1.0 if abs(mean) < ROUNDING else None, None, number)
    t = mean / (deviation / math.sqrt(number))
    p = 2 * float(scipy.special.stdtr(number - 1, -abs(t)))
    return Difference(mean, low, high, p, _hedges(mean / deviation, number), number)


def _hedges(d: float, number: int) -> float | None:
    """Without the bias that d has upwards, exactly (Hedges 1981, eq. 6e)."""
    freedom = number - 1
    if freedom < 2:
        return None
    log = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2) - math.log(freedom / 2) / 2
    return d * math.exp(log)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values of a family, corrected so that one false alarm in it is as rare as α.

    What could not be tested (None) stays None and belongs to the family, so that the first results of a study that
    still runs are held to the same measure as all of them at its end.
    """
    tested = sorted((p, number) for number, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, number) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(p_values) - place)))
        corrected[number] = highest
    return corrected
