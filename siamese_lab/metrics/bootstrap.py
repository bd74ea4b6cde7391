"""How sure a mean is: the bootstrap over classes, which are what was sampled (Efron 1979)."""

from typing import NamedTuple

from torch import Tensor


class Interval(NamedTuple):
    """A mean and the interval around it."""

    mean: float
    low: float
    high: float


def over_classes(
    values_Q: Tensor, labels_Q: Tensor, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """The mean of the values, and its interval when whole classes are drawn anew with replacement."""
    raise NotImplementedError
