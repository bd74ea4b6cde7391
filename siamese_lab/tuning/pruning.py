"""The median rule that prunes hopeless trials (Golovin et al. 2017, doi:10.1145/3097983.3098043, §3.2.2).

Optuna's `MedianPruner` has the same rule. Here the medians are numbers that are known before a trial starts, so that
the process that trains it needs no other trial, and a repeated tuning decides the same.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from siamese_lab.runs.results import Results
from siamese_lab.training.callbacks.prune_trial import CURVE

LEAST_FINISHED = 5
"""Number of finished trials before any trial is pruned, as in Optuna."""

Curve = Mapping[int, float]
"""Validation Recall@1 by the number of steps."""


def curve_of(results: Results) -> dict[int, float]:
    """Return the validation Recall@1 of a trial by the number of steps."""
    return {point.step: point.validation[CURVE] for point in results.history}


def medians(finished: Sequence[Curve]) -> dict[int, float]:
    """Return the median of finished trials by the number of steps; empty if there are too few of them.

    >>> medians([{10: 0.1}, {10: 0.2}, {10: 0.3}, {10: 0.4}, {10: 0.6, 20: 0.7}])
    {10: 0.3, 20: 0.7}
    """
    if len(finished) < LEAST_FINISHED:
        return {}
    steps = sorted({step for curve in finished for step in curve})
    return {step: median(curve[step] for curve in finished if step in curve) for step in steps}
