"""Bootstrap differences of strategies over seeds and test classes, from results for each class.

A difference over seeds says what another seed would give on the same test classes. Test classes are a sample too, so
the hierarchical bootstrap draws both. A drawn class counts in all seeds that test it (Owen 2007,
doi:10.1214/07-AOAS122). If no two seeds share a class, only seeds are drawn, because the differences between seeds then
include those between classes. One seed and one class less than there are is drawn, which corrects the variance of a
small sample (Rao & Wu 1988, doi:10.1080/01621459.1988.10478591). The interval is Student's t with the degrees of
freedom of Satterthwaite, because percentiles of a bootstrap over few seeds are too narrow. It covers at least at its
rate, because the variation of a class within a single seed counts more than once.

Shapes: S seeds, C classes, N samples of the bootstrap.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siamese_lab.study.statistics import LEVEL, t_quantile

SAMPLES = 2000


class ClassDifference(NamedTuple):
    """The difference of two strategies with an interval over seeds and test classes."""

    mean: float
    low: float
    high: float
    error: float
    """Standard error over seeds and classes."""
    error_of_seeds: float
    """Standard error over seeds alone, with the classes given."""
    freedom: float


def bootstrap_difference(
    first_SC: NDArray[np.float64],
    second_SC: NDArray[np.float64],
    queries_SC: NDArray[np.float64] | None = None,
    samples: int = SAMPLES,
    confidence: float = LEVEL,
    seed: int = 0,
) -> ClassDifference:
    """Return the mean difference over seeds of two strategies, first minus second.

    Args:
        first_SC: the metric of each seed and class; NaN for a class that the seed does not test.
        second_SC: the same for the other strategy, with the same classes.
        queries_SC: number of queries of each seed and class, which weights the classes (micro average); None weights
            all classes alike (macro average).
        samples: number of samples of the bootstrap.
        confidence: confidence of the interval.
        seed: seed of the bootstrap.

    Raises:
        ValueError: if there are fewer than two seeds, or a seed has fewer than two classes.
    """
    tested_SC = ~np.isnan(first_SC)
    if not np.array_equal(tested_SC, ~np.isnan(second_SC)):
        raise ValueError("both strategies need the same classes for each seed")
    if len(first_SC) < 2 or tested_SC.sum(axis=1).min() < 2:
        raise ValueError(f"at least 2 seeds with at least 2 classes each are needed, but there are {tested_SC.shape}")
    weights_SC = tested_SC * (1.0 if queries_SC is None else np.nan_to_num(queries_SC))
    weighted_SC = np.where(tested_SC, first_SC - second_SC, 0.0) * weights_SC
    of_seed_S = weighted_SC.sum(axis=1) / weights_SC.sum(axis=1)
    rng = np.random.default_rng(seed)
    if tested_SC.sum(axis=0).max() > 1:
        drawn_NS = _with_drawn_classes(weighted_SC, weights_SC, of_seed_S, samples, rng)
    else:
        drawn_NS = np.broadcast_to(of_seed_S, (samples, len(of_seed_S)))
    num_seeds = len(of_seed_S)
    times_NS = rng.multinomial(num_seeds - 1, np.full(num_seeds, 1 / num_seeds), size=samples)
    variance = float(((times_NS * drawn_NS).sum(axis=1) / (num_seeds - 1)).var(ddof=1))
    of_seeds = float(of_seed_S.var(ddof=1)) / num_seeds
    freedom = _satterthwaite(variance, of_seeds, num_seeds, int(tested_SC.any(axis=0).sum()))
    mean, error = float(of_seed_S.mean()), variance**0.5
    half = t_quantile(0.5 + confidence / 2, freedom) * error
    return ClassDifference(mean, mean - half, mean + half, error, of_seeds**0.5, freedom)


def _with_drawn_classes(
    weighted_SC: NDArray[np.float64],
    weights_SC: NDArray[np.float64],
    of_seed_S: NDArray[np.float64],
    samples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the difference of each seed with drawn classes, or with all classes if none of its classes was drawn."""
    weighted_SC, weights_SC = (each[:, (weights_SC > 0).any(axis=0)] for each in (weighted_SC, weights_SC))
    classes = weighted_SC.shape[1]
    times_NC = rng.multinomial(classes - 1, np.full(classes, 1 / classes), size=samples).astype(np.float64)
    weight_NS = times_NC @ weights_SC.T
    without_NS = weight_NS == 0
    drawn_NS = (times_NC @ weighted_SC.T) / np.where(without_NS, 1.0, weight_NS)
    return np.where(without_NS, of_seed_S, drawn_NS)


def _satterthwaite(variance: float, of_seeds: float, seeds: int, classes: int) -> float:
    """Return the degrees of freedom of a variance that is the sum of a part of seeds and a part of classes."""
    of_seeds = min(of_seeds, variance)
    of_classes = variance - of_seeds
    parts = of_seeds**2 / (seeds - 1) + of_classes**2 / (classes - 1)
    return variance**2 / parts if parts > 0 else float(seeds - 1)
