"""How sure figures of pairs are: the bootstrap over the classes that the pairs are of.

Pairs that share a class are not independent, so it is classes that are drawn anew, with replacement. A pair of one
class then counts as often as that class was drawn, and a pair of two as often as the one times as often as the other
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
"""Of the resamples that must be able to tell a figure, for it to have an interval."""


class Bounds(NamedTuple):
    """The ends of an interval; None where too few resamples can tell the figure."""

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
    """The percentile intervals of figures of pairs.

    Args:
        measure: makes figures of the pairs at some indices (M,), in which a pair may come several times; NaN for what
            these cannot tell.
        left_N: the class of the first image of each pair.
        right_N: that of the second.
        seed: of the resampling.
        resamples: how often classes are drawn. Draws without pairs of both kinds are drawn again.
        level: of the interval.
        advance: is told of every resample.

    Returns:
        For each figure of `measure` its interval.

    Raises:
        UserError: if there are no pairs of both kinds.
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
    told = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    if len(told) < LEAST_SHARE * len(values):
        return Bounds(None, None)
    low, high = told.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Bounds(low, high)
