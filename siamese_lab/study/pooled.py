"""Fit strategies and seeds of one data set by least squares, with one variance for all strategies.

The model of a run is y = strategy + seed + residual, the two-way layout without interaction. The residuals of all
strategies share one variance. If every strategy has a run for each seed, a difference of two strategies is the mean of
their differences paired by seed, and its standard error is √(2 · residual mean square / seeds). It then equals that of
the mixed model y ~ strategy + (1 | seed), unless that model estimates the variance of seeds as 0.

Missing runs need no imputation: least squares use all runs there are. A seed with a single strategy contributes
nothing, and two strategies that no chain of shared seeds connects cannot be compared.

The effects of the seeds are eliminated first, which leaves one equation for each strategy. Time and memory grow with
the number of runs. The matrix of these equations is the Laplacian of a graph, in which shared seeds join strategies;
each connected part of the graph has one singular direction, the mean of its effects (Bailey 2008, "Design of
Comparative Experiments", chapter 11).

Shapes: T strategies, S seeds.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse.csgraph
from numpy.typing import NDArray

from siamese_lab.study.statistics import ROUNDING


class Contrast(NamedTuple):
    """The difference of two strategies in a layout."""

    mean: float
    scale: float
    """Standard error for a residual standard deviation of 1; above 0."""
    error: float
    """Standard error with the pooled residual standard deviation; NaN without degrees of freedom."""


class Layout(NamedTuple):
    """The least-squares fit of the strategies and seeds of one data set."""

    strategies: list[str]
    effect_T: NDArray[np.float64]
    """Effects of the strategies; only differences within a connected part have a meaning."""
    inverse_TT: NDArray[np.float64]
    """Pseudo-inverse of the matrix of the equations, from which the seeds are eliminated."""
    part_T: NDArray[np.int32]
    """Number of the connected part of each strategy; shared seeds connect the strategies of a part."""
    deviation: float
    """Residual standard deviation, pooled over strategies; 0 if it is a rounding error, NaN without freedom."""
    freedom: int
    """Degrees of freedom of the residuals."""

    def contrast(self, first: str, second: str) -> Contrast | None:
        """Return first minus second; None if no shared seeds connect the two."""
        one, other = self.strategies.index(first), self.strategies.index(second)
        if self.part_T[one] != self.part_T[other]:
            return None
        inverse_TT = self.inverse_TT
        scale = math.sqrt(inverse_TT[one, one] + inverse_TT[other, other] - 2 * inverse_TT[one, other])
        return Contrast(float(self.effect_T[one] - self.effect_T[other]), scale, scale * self.deviation)


def fit(values: pd.DataFrame) -> Layout:
    """Fit the values of one data set.

    Args:
        values: values by strategy (index) and seed (columns); NaN where a run is missing.
    """
    value_TS = values.to_numpy(dtype=np.float64)
    present_TS = ~np.isnan(value_TS)
    runs_T, runs_S = present_TS.sum(1), present_TS.sum(0)
    share_TS = present_TS / np.maximum(runs_S, 1)
    shared_TT = present_TS.astype(np.float64) @ share_TS.T
    part_T = scipy.sparse.csgraph.connected_components(shared_TT, directed=False)[1]
    inverse_TT = _inverse(np.diag(runs_T) - shared_TT, part_T)
    within_TS = _minus_seeds(value_TS, present_TS, share_TS)
    effect_T = inverse_TT @ within_TS.sum(1)
    effect_TS = np.broadcast_to(effect_T[:, None], value_TS.shape)
    residual_TS = within_TS - _minus_seeds(effect_TS, present_TS, share_TS)
    parts = len(np.unique(part_T[runs_T > 0]))
    rank = int((runs_T > 0).sum()) + int((runs_S > 0).sum()) - parts
    freedom = int(present_TS.sum()) - rank
    deviation = math.sqrt(float(np.square(residual_TS).sum()) / freedom) if freedom else math.nan
    deviation = 0.0 if deviation < ROUNDING else deviation
    return Layout(list(values.index), effect_T, inverse_TT, part_T, deviation, freedom)


def _minus_seeds(
    value_TS: NDArray[np.float64], present_TS: NDArray[np.bool_], share_TS: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return values minus the mean of their seed; 0 where a run is missing."""
    known_TS = np.where(present_TS, value_TS, 0.0)
    return np.where(present_TS, known_TS - (known_TS * share_TS).sum(0), 0.0)


def _inverse(laplacian_TT: NDArray[np.float64], part_T: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the pseudo-inverse of a Laplacian, exactly singular along the constants of each connected part."""
    same_TT = part_T[:, None] == part_T
    constant_TT = same_TT / same_TT.sum(1)
    return np.where(same_TT, np.linalg.inv(laplacian_TT + constant_TT) - constant_TT, 0.0)
