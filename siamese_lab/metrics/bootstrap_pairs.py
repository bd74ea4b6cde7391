"""Confidence intervals of figures of pairs: the bootstrap over the classes of the pairs.

Pairs that share a class are not independent, so classes are resampled with replacement. A pair of one class counts as
often as its class was drawn. A pair of two classes counts as often as the product of both numbers of draws
(Owen 2007, The pigeonhole bootstrap, doi:10.1214/07-AOAS122).

Shapes: N pairs, M pairs after resampling, C classes, R resamples.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.errors import UserError

LEAST_SHARE = 0.9
"""Minimum share of resamples in which a figure is defined, for the figure to have an interval."""


class Bounds(NamedTuple):
    """The ends of an interval; None if the figure is undefined in too many resamples."""

    low: float | None
    high: float | None


def bounds_over_classes(
    measure: Callable[[Tensor], Mapping[str, float]],
    left_N: Tensor,
    right_N: Tensor,
    *,
    seed: int = 0,
    resamples: int = 500,
    level: float = 0.95,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Bounds]:
    """Compute percentile intervals of figures of pairs.

    Args:
        measure: computes figures of the pairs at some indices (M,), which may repeat a pair; NaN for undefined figures.
        left_N: the class of the first image of each pair.
        right_N: the class of the second image of each pair.
        seed: seed of the resampling.
        resamples: number of resamples. Draws without pairs of both kinds are repeated.
        level: confidence level of the interval.
        advance: called with 1 after every resample.

    Returns:
        The interval of each figure of `measure`.

    Raises:
        UserError: unless there are pairs of both kinds.
    """
    left_N, right_N = left_N.cpu(), right_N.cpu()
    same_N = left_N == right_N
    if bool(same_N.all()) or not bool(same_N.any()):
        raise UserError("An interval of figures of pairs needs pairs of one class and pairs of two.")
    classes_C, renumbered = torch.cat([left_N, right_N]).unique(return_inverse=True)
    left_N, right_N = renumbered.chunk(2)
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {}
    done = 0
    while done < resamples:
        drawn = torch.randint(len(classes_C), (len(classes_C),), generator=generator)
        times_C = drawn.bincount(minlength=len(classes_C))
        times_N = torch.where(same_N, times_C[left_N], times_C[left_N] * times_C[right_N])
        if not (times_N[same_N].any() and times_N[~same_N].any()):
            continue
        for name, value in measure(torch.arange(len(times_N)).repeat_interleave(times_N)).items():
            found.setdefault(name, []).append(value)
        done += 1
        advance(1)
    return {name: _bounds(values, level) for name, values in found.items()}


def _bounds(values: list[float], level: float) -> Bounds:
    defined = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    if len(defined) < LEAST_SHARE * len(values):
        return Bounds(None, None)
    low, high = defined.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Bounds(low, high)
