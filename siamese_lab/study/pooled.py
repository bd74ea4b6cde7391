"""Fit strategies and seeds of one data set by least squares, with one variance for all strategies.

The model of a run is y = strategy + seed + residual, the two-way layout without interaction. The residuals of all
strategies share one variance. If every strategy has a run for each seed, a difference of two strategies is the mean of
their differences paired by seed, and its standard error is √(2 · residual mean square / seeds). It then equals that of
the mixed model y ~ strategy + (1 | seed), unless that model estimates the variance of seeds as 0.

Missing runs need no imputation: least squares use all runs there are. A seed with a single strategy contributes
nothing, and two strategies that no chain of shared seeds connects cannot be compared.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese_lab.study.statistics import ROUNDING


class Contrast(NamedTuple):
    """The difference of two strategies in a layout."""

    mean: float
    scale: float
    """Standard error for a residual standard deviation of 1."""
    error: float
    """Standard error with the pooled residual standard deviation; NaN without degrees of freedom."""


class Layout(NamedTuple):
    """The least-squares fit of the strategies and seeds of one data set."""

    strategies: list[str]
    coefficients: NDArray[np.float64]
    """Effects of the strategies, followed by those of the seeds; only differences of strategies have a meaning."""
    inverse: NDArray[np.float64]
    """Pseudo-inverse of XᵀX, where X is the design matrix."""
    estimable: NDArray[np.float64]
    """Projection onto the estimable functions of the coefficients."""
    deviation: float
    """Residual standard deviation, pooled over strategies; 0 if it is a rounding error, NaN without freedom."""
    freedom: int
    """Degrees of freedom of the residuals."""

    def contrast(self, first: str, second: str) -> Contrast | None:
        """Return first minus second; None if no shared seeds connect the two."""
        weights = np.zeros(len(self.coefficients))
        weights[self.strategies.index(first)] = 1.0
        weights[self.strategies.index(second)] = -1.0
        if not np.allclose(weights @ self.estimable, weights, atol=1e-6):
            return None
        scale = math.sqrt(max(0.0, float(weights @ self.inverse @ weights)))
        return Contrast(float(weights @ self.coefficients), scale, scale * self.deviation)


def fit(values: pd.DataFrame) -> Layout:
    """Fit the values of one data set.

    Args:
        values: values by strategy (index) and seed (columns); NaN where a run is missing.
    """
    value_TS = values.to_numpy(dtype=np.float64)
    strategy_N, seed_N = np.nonzero(~np.isnan(value_TS))
    value_N = value_TS[strategy_N, seed_N]
    num_strategies, num_seeds = value_TS.shape
    design_NC = np.zeros((len(value_N), num_strategies + num_seeds))
    rows = np.arange(len(value_N))
    design_NC[rows, strategy_N] = 1.0
    design_NC[rows, num_strategies + seed_N] = 1.0
    pseudo_CN = np.linalg.pinv(design_NC)
    coefficients = pseudo_CN @ value_N
    residual_N = value_N - design_NC @ coefficients
    freedom = len(value_N) - int(np.linalg.matrix_rank(design_NC))
    deviation = math.sqrt(float(residual_N @ residual_N) / freedom) if freedom else math.nan
    return Layout(
        list(values.index),
        coefficients,
        pseudo_CN @ pseudo_CN.T,
        pseudo_CN @ design_NC,
        0.0 if deviation < ROUNDING else deviation,
        freedom,
    )
