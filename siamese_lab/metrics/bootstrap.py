"""How sure a mean over images is: the bootstrap over their classes, which are what was sampled.

A class's images are alike, so they are drawn together (the cluster bootstrap; Davison & Hinkley 1997, §3.8), by
`scipy.stats.bootstrap`. The interval is that of the percentiles: the bias-corrected one comes no nearer to its level on
shares like Recall@1, and takes time as the square of the number of classes. Of few classes no bootstrap knows enough:
of 10, a 95% interval holds the true mean nine times in ten.

Shapes: Q images, C classes.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats
from torch import Tensor

from siamese_lab.errors import UserError

DRAWN_AT_ONCE = 2**22
"""Classes: 32 MiB of indices, however many there are."""


class Interval(NamedTuple):
    """A mean, and the interval that holds what it estimates."""

    mean: float
    low: float
    high: float


def over_classes(
    values_Q: Tensor, labels_Q: Tensor, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """The mean of the values, and its interval when classes are drawn anew, each with all its images.

    Args:
        values_Q: of each image, such as whether its nearest is of its class.
        labels_Q: its class; classes may be of any sizes.
        seed: of the draws.
        resamples: how often to draw as many classes as there are.
        level: the share of such intervals that is to hold the true mean.

    Raises:
        ValueError: for shapes that do not match, a level or number that makes no interval, values that are not finite,
            or fewer than 2 classes.
    """
    _check(values_Q, labels_Q, resamples, level)
    _, class_Q = np.unique(labels_Q.cpu().numpy(), return_inverse=True)
    size_C = np.bincount(class_Q)
    if len(size_C) < 2:
        raise UserError("An interval over classes needs at least 2 classes, but all images are of one.")
    sum_C = np.bincount(class_Q, weights=values_Q.double().cpu().numpy())
    interval = scipy.stats.bootstrap(
        (sum_C, size_C),
        _mean,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, DRAWN_AT_ONCE // len(size_C)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(_mean(sum_C, size_C)), float(interval.low), float(interval.high))


def _mean(sum_C: np.ndarray, size_C: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.divide(sum_C.sum(axis), size_C.sum(axis))


def _check(values_Q: Tensor, labels_Q: Tensor, resamples: int, level: float) -> None:
    if values_Q.ndim != 1 or labels_Q.shape != values_Q.shape:
        raise ValueError(
            f"The bootstrap expects values (Q,) and labels (Q,), but got {tuple(values_Q.shape)} and "
            f"{tuple(labels_Q.shape)}."
        )
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(
            f"The bootstrap needs resamples of at least 1 and a level between 0 and 1, but they are {resamples} and "
            f"{level}."
        )
    lost = int((~values_Q.isfinite()).sum())
    if lost > 0:
        raise ValueError(f"The bootstrap expects finite values, but {lost} of {len(values_Q)} are not.")
