"""Simulate studies to check the procedure of the report: false positives, coverage and power.

The variances are those that a study observed, by default the first study of this lab: residual standard deviations of
Recall@1 within a data set, in points, from three seeds of four strategies. Two noise models bound the truth: one
variance for each data set, and one for each strategy, whose estimates from three seeds differ more than the true ones.

    python tests/study/simulate.py [--study outputs/study]
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.special

from siamese_lab.study.class_bootstrap import bootstrap_difference
from siamese_lab.study.comparison import values_of_metric
from siamese_lab.study.improvement import exact_interval
from siamese_lab.study.pairs import BOUND
from siamese_lab.study.power import detectable_difference
from siamese_lab.study.runs import figures, read_study
from siamese_lab.study.statistics import ALPHA

STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")
OBSERVED = {
    "MNIST, closed": (0.12, 0.07, 0.12, 0.06),
    "MNIST, disjoint": (0.02, 0.36, 0.37, 0.38),
    "Fashion-MNIST, closed": (0.59, 0.76, 0.15, 0.03),
    "Fashion-MNIST, disjoint": (0.88, 0.30, 0.59, 0.48),
    "Omniglot": (0.43, 0.30, 0.44, 0.26),
    "LFW, View 1": (0.31, 1.15, 0.07, 1.29),
}
"""Standard deviation over seeds of each strategy, in points, after the mean of the seed was subtracted."""
PAIRS = list(combinations(range(len(STRATEGIES)), 2))


class Simulated(NamedTuple):
    """Estimates of simulated studies. Shapes: N studies, D data sets, Q pairs."""

    difference_NDQ: np.ndarray
    error_NDQ: np.ndarray
    freedom: int
    pooled_error_ND: np.ndarray
    pooled_freedom: int
    wins_NDQ: np.ndarray
    """Number of seeds in which the second strategy of a pair is higher."""


def observed(folder):
    """Return the standard deviations of the runs of a study in the form of `OBSERVED`."""
    values = values_of_metric(figures(read_study(folder)), "recall@1")
    spread = {}
    for data in values.index.get_level_values("data").unique():
        of_data = values.loc[data].reindex(STRATEGIES).dropna(axis="columns")
        if of_data.shape[1] > 1:
            spread[data] = tuple(100 * (of_data - of_data.mean()).std(axis="columns"))
    return spread


def variances(own, deviations=OBSERVED):
    """Return the residual variance of each data set and strategy as shares, averaged over strategies unless `own`."""
    # Subtracting the mean of the seed leaves 3/4 of the variance.
    variance_DT = np.square(np.array(list(deviations.values())) / 100) * 4 / 3
    return variance_DT if own else np.broadcast_to(variance_DT.mean(1, keepdims=True), variance_DT.shape)


def simulate(seeds, variance_DT, studies, rng, effect_DT=0.0):
    """Draw studies and estimate all pairs as `pairs.compare_pairs` does for complete studies."""
    noise_NDTS = rng.normal(size=(studies, *variance_DT.shape, seeds)) * np.sqrt(variance_DT)[..., None]
    run_NDTS = noise_NDTS + np.broadcast_to(effect_DT, variance_DT.shape)[..., None]
    return estimate_pairs(run_NDTS)


def estimate_pairs(run_NDTS):
    """Return the estimates of all pairs."""
    strategies, seeds = run_NDTS.shape[-2:]
    residual_NDTS = run_NDTS - run_NDTS.mean(-1, keepdims=True)
    residual_NDTS = residual_NDTS - residual_NDTS.mean(-2, keepdims=True)
    pooled_freedom = (strategies - 1) * (seeds - 1)
    pooled_ND = np.square(residual_NDTS).sum((-1, -2)) / pooled_freedom
    difference_NDQS = np.stack([run_NDTS[:, :, b] - run_NDTS[:, :, a] for a, b in PAIRS], axis=2)
    own_NDQ = difference_NDQS.var(-1, ddof=1) / 2
    prior, own = strategies - 1, seeds - 1
    moderated_NDQ = (prior * pooled_ND[..., None] + own * own_NDQ) / (prior + own)
    return Simulated(
        difference_NDQS.mean(-1),
        np.sqrt(2 * moderated_NDQ / seeds),
        min(prior + own, pooled_freedom),
        np.sqrt(2 * pooled_ND / seeds),
        pooled_freedom,
        (difference_NDQS > 0).sum(-1),
    )


def p_values(difference, error, freedom):
    return 2 * scipy.special.stdtr(freedom, -np.abs(difference / error))


def family_rate(p_NDQ):
    """Return the share of studies in which Holm's correction rejects any test: it does so if the smallest p passes."""
    return float((p_NDQ.reshape(len(p_NDQ), -1).min(1) <= ALPHA / p_NDQ[0].size).mean())


def rates(seeds, own, studies, deviations=OBSERVED, seed=0):
    """Return the rates of one number of seeds and one noise model, as shares."""
    rng, variance_DT = np.random.default_rng([seed, seeds, own]), variances(own, deviations)
    family = len(PAIRS) * len(variance_DT)
    null = simulate(seeds, variance_DT, studies, rng)
    p_NDQ = p_values(null.difference_NDQ, null.error_NDQ, null.freedom)
    pooled_p_NDQ = p_values(null.difference_NDQ, null.pooled_error_ND[..., None], null.pooled_freedom)
    covered_DQ = (p_NDQ > ALPHA).mean(0)
    # Power: the last strategy is better than the others by what is detectable with the mean error of its pairs.
    error_D = np.sqrt(2 * variance_DT.mean(1) / seeds)
    detectable_D = np.array([detectable_difference(error, null.freedom, ALPHA / family) for error in error_D])
    effect_DT = np.zeros_like(variance_DT)
    effect_DT[:, -1] = detectable_D
    better = simulate(seeds, variance_DT, studies, rng, effect_DT)
    with_last = [number for number, (_, b) in enumerate(PAIRS) if b == len(STRATEGIES) - 1]
    found_NDQ = p_values(better.difference_NDQ, better.error_NDQ, better.freedom) <= ALPHA / family
    # Equivalence: the last strategy is better by the bound, where the test must reject rarely.
    effect_DT[:, -1] = BOUND
    bound = simulate(seeds, variance_DT, studies, rng, effect_DT)
    t_NDQ = (BOUND - np.abs(bound.difference_NDQ)) / bound.error_NDQ
    equivalence_NDQ = scipy.special.stdtr(bound.freedom, -t_NDQ)[:, :, with_last]
    wins_Q = null.wins_NDQ.reshape(-1)
    intervals = np.array([exact_interval(wins, seeds) for wins in range(seeds + 1)])
    return {
        "family": family_rate(p_NDQ),
        "family, pooled": family_rate(pooled_p_NDQ),
        "coverage": float(covered_DQ.mean()),
        "lowest coverage": float(covered_DQ.min()),
        "power": float(found_NDQ[:, :, with_last].mean()),
        "false equivalence": family_rate(equivalence_NDQ),
        "improvement": float(((intervals[wins_Q, 0] <= 0.5) & (intervals[wins_Q, 1] >= 0.5)).mean()),
    }


SHARED = ("all", "half", "none")
"""Test classes that two seeds share."""


def bootstrap_coverage(seeds, classes, shared, studies, samples=200, seed=0):
    """Return the share of studies whose interval over seeds and classes covers the true difference, 0.

    Differences of a class have a standard deviation of 4 points between classes, 1 point between seeds, and 6 points in
    one class of one seed.
    """
    rng = np.random.default_rng([seed, seeds, classes, SHARED.index(shared)])
    pool = {"all": classes, "half": 2 * classes, "none": seeds * classes}[shared]
    covered = 0
    for study in range(studies):
        difference_SC = rng.normal(0, 0.04, pool) + rng.normal(0, 0.01, (seeds, 1)) + rng.normal(0, 0.06, (seeds, pool))
        queries_SC = rng.integers(5, 40, pool) * np.ones((seeds, 1))
        for number, row in enumerate(difference_SC):
            own = rng.permutation(pool)[:classes] if shared != "none" else np.arange(classes) + number * classes
            row[np.setdiff1d(np.arange(pool), own)] = np.nan
        zero_SC = np.where(np.isnan(difference_SC), np.nan, 0.0)
        found = bootstrap_difference(difference_SC, zero_SC, queries_SC, samples, seed=study)
        covered += found.low <= 0 <= found.high
    return covered / studies


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10, 20])
    parser.add_argument("--study", type=Path, help="folder of the study whose variances are used")
    options = parser.parse_args(arguments)
    deviations = observed(options.study) if options.study else OBSERVED
    names = list(rates(2, False, 10))
    print(f"{len(PAIRS) * len(deviations)} tests of a family, {options.studies:,} studies a row, in percent")
    print(f"{'variance':12} {'seeds':>5} ", *(f"{name:>17}" for name in names))
    for own in (False, True):
        for seeds in options.seeds:
            found = rates(seeds, own, options.studies, deviations)
            kind = "by strategy" if own else "by data set"
            print(f"{kind:12} {seeds:>5} ", *(f"{100 * found[name]:>17.1f}" for name in names))
    print("\nCoverage of intervals over seeds and test classes, in percent")
    for shared in SHARED:
        for seeds, classes in ((3, 20), (5, 20), (10, 5), (10, 40)):
            covered = bootstrap_coverage(seeds, classes, shared, max(20, options.studies // 10))
            print(f"seeds share {shared:5} {seeds:>3} seeds {classes:>3} classes {100 * covered:>6.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
