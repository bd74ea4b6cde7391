"""All pairs agree with mixed models, paired tests and equivalence tests of statsmodels and scipy, also with gaps."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.stats
import statsmodels.formula.api as formulas
from simulate import PAIRS, STRATEGIES, estimate_pairs
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from siamese_lab.study import pooled
from siamese_lab.study.improvement import exact_interval, probability_of_improvement
from siamese_lab.study.pairs import compare_pairs
from siamese_lab.study.power import detectable_difference, seeds_for_interval
from siamese_lab.study.statistics import difference


def drawn(strategies=STRATEGIES, seeds=6, data=("Omniglot",), effects=(0.0, 0.01, 0.02, 0.02), noise=0.004, seed=0):
    """Return values by data set and strategy (index) and seed (columns); seeds differ more than runs."""
    rng = np.random.default_rng(seed)
    of_seed = rng.normal(0.85, 0.02, seeds)
    rows = {
        (name, strategy): of_seed + effect + rng.normal(0, noise, seeds)
        for name in data
        for strategy, effect in zip(strategies, effects, strict=False)
    }
    values = pd.DataFrame(rows, index=range(seeds)).T
    values.index.names, values.columns.name = ["data", "strategy"], "seed"
    return values


def long(values):
    return values.loc["Omniglot"].stack().rename("y").reset_index()


def by_names(pairs):
    return {(each.first, each.second): each for each in pairs}


def test_the_pooled_error_is_that_of_the_mixed_model():
    values = drawn()
    found = by_names(compare_pairs(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = formulas.mixedlm("y ~ C(strategy, Treatment('random'))", long(values), groups="seed").fit(reml=True)
    for strategy in STRATEGIES[1:]:
        name = f"C(strategy, Treatment('random'))[T.{strategy}]"
        pair = found[strategy, "random"]
        assert pair.mean == pytest.approx(model.params[name], abs=1e-6)
        assert pair.pooled_error == pytest.approx(model.bse[name], rel=1e-3)
        assert pair.pooled_freedom == 15


def test_missing_runs_are_estimated_by_least_squares():
    values = drawn(seeds=5)
    values.loc[("Omniglot", "hard"), [1, 3]] = np.nan
    values.loc[("Omniglot", "random"), 0] = np.nan
    layout = pooled.fit(values.loc["Omniglot"])
    model = formulas.ols("y ~ C(strategy, Treatment('random')) + C(seed)", long(values)).fit()
    assert layout.freedom == model.df_resid == 17 - 4 - 5 + 1
    assert layout.deviation**2 == pytest.approx(model.mse_resid)
    for strategy in STRATEGIES[1:]:
        name = f"C(strategy, Treatment('random'))[T.{strategy}]"
        contrast = layout.contrast(strategy, "random")
        assert (contrast.mean, contrast.error) == pytest.approx((model.params[name], model.bse[name]))
    assert by_names(compare_pairs(values))["hard", "random"].number == 2


def test_strategies_without_a_chain_of_shared_seeds_are_not_compared():
    values = drawn(seeds=4)
    values.loc[("Omniglot", "random"), [2, 3]] = values.loc[("Omniglot", "hard"), [2, 3]] = np.nan
    values.loc[("Omniglot", "semi_hard"), [0, 1]] = values.loc[("Omniglot", "distance_weighted"), [0, 1]] = np.nan
    assert set(by_names(compare_pairs(values))) == {("hard", "random"), ("distance_weighted", "semi_hard")}


def dense(values):
    """Return the coefficients, the pseudo-inverse of XᵀX, deviation and freedom from the whole design matrix X."""
    strategy_N, seed_N = np.nonzero(~np.isnan(values))
    design = np.zeros((len(seed_N), sum(values.shape)))
    design[range(len(seed_N)), strategy_N] = design[range(len(seed_N)), values.shape[0] + seed_N] = 1
    inverse = np.linalg.pinv(design)
    value_N = values[strategy_N, seed_N]
    residual_N = value_N - design @ inverse @ value_N
    freedom = len(seed_N) - (np.linalg.matrix_rank(design) if design.size else 0)
    deviation = math.sqrt(residual_N @ residual_N / freedom) if freedom else math.nan
    return inverse @ value_N, inverse @ inverse.T, deviation, freedom


def connected(present_TS, one, other):
    """Return whether a chain of shared seeds joins two strategies, in plain loops."""
    reached, waiting = {one}, [one]
    while waiting:
        seeds = np.flatnonzero(present_TS[waiting.pop()])
        new = {each for seed in seeds for each in np.flatnonzero(present_TS[:, seed])} - reached
        reached |= new
        waiting += new
    return other in reached


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7, 0.85])
def test_the_fit_is_that_of_the_whole_design_matrix(missing):
    rng = np.random.default_rng(int(100 * missing))
    for _ in range(100):
        values = rng.normal(0.8, 0.05, (rng.integers(1, 7), rng.integers(1, 12)))
        values[rng.random(values.shape) < missing] = np.nan
        values = values[~np.isnan(values).all(1)]
        names = [f"s{number}" for number in range(len(values))]
        layout = pooled.fit(pd.DataFrame(values, index=names))
        effects, inverse, deviation, freedom = dense(values)
        assert layout.freedom == freedom
        assert layout.deviation == pytest.approx(deviation, abs=1e-10, nan_ok=True)
        for one, other in itertools.permutations(range(len(values)), 2):
            contrast = layout.contrast(names[one], names[other])
            assert (contrast is None) == (not connected(~np.isnan(values), one, other))
            if contrast is not None:
                scale = math.sqrt(inverse[one, one] + inverse[other, other] - 2 * inverse[one, other])
                assert (contrast.mean, contrast.scale) == pytest.approx(
                    (effects[one] - effects[other], scale), abs=1e-10
                )


@pytest.mark.parametrize("apart", [1, 1_000])
def test_a_strategy_without_shared_seeds_changes_no_comparison_of_many_others(apart):
    values = drawn(strategies=("random", "hard"), seeds=1_560)
    alone = np.random.default_rng(1).normal(0.7, 0.1, apart)
    wide = values.reindex(columns=range(1_560 + apart))
    wide.loc[("Omniglot", "x"), range(1_560, 1_560 + apart)] = alone
    (pair,) = compare_pairs(wide)
    (without,) = compare_pairs(values)
    assert (pair.first, pair.second, pair.number, pair.pooled_freedom) == ("hard", "random", 1_560, 1_559)
    assert (pair.mean, pair.pooled_error) == pytest.approx((without.mean, without.pooled_error), rel=1e-12)
    assert pair.p is not None and pair.low < pair.mean < pair.high


def test_two_strategies_give_the_paired_t_test_and_equivalence_test():
    values = drawn(strategies=("random", "hard"), effects=(0.0, 0.001), noise=0.002)
    (pair,) = compare_pairs(values, bound=0.005)
    second, first = values.to_numpy()
    test = scipy.stats.ttest_rel(first, second)
    assert (pair.p, pair.corrected_p) == pytest.approx((test.pvalue, test.pvalue))
    assert (pair.low, pair.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert pair.equivalence_p == pytest.approx(ttost_paired(first, second, -0.005, 0.005)[0])
    assert pair.freedom == 5


def test_the_variance_of_a_pair_is_the_weighted_mean_of_its_own_and_the_pooled_one():
    values = drawn(seeds=4)
    of_data = values.loc["Omniglot"]
    deviation = pooled.fit(of_data).deviation
    for (first, second), pair in by_names(compare_pairs(values)).items():
        own = np.var(of_data.loc[first] - of_data.loc[second], ddof=1) / 2
        error = math.sqrt((3 * deviation**2 + 3 * own) / 6 * 2 / 4)
        assert pair.freedom == 6  # three of the pooled variance, three of four seeds
        assert pair.high - pair.mean == pytest.approx(scipy.stats.t.ppf(0.975, 6) * error)
        assert pair.p == pytest.approx(2 * scipy.stats.t.sf(abs(pair.mean) / error, 6))


def test_holm_corrects_all_data_sets_together():
    values = drawn(data=("Omniglot", "LFW"))
    pairs = compare_pairs(values)
    assert len(pairs) == 12
    for kind, corrected in (("p", "corrected_p"), ("equivalence_p", "corrected_equivalence_p")):
        expected = multipletests([getattr(each, kind) for each in pairs], method="holm")[1]
        assert [getattr(each, corrected) for each in pairs] == pytest.approx(expected.tolist())


def test_verdicts_follow_the_difference_and_the_bound():
    values = drawn(seeds=12, effects=(0.0, 0.0, 0.02, 0.003), noise=0.0005)
    found = by_names(compare_pairs(values, bound=0.005))
    assert found["hard", "random"].equivalent and not found["hard", "random"].separated
    assert found["semi_hard", "random"].separated and not found["semi_hard", "random"].equivalent
    assert found["distance_weighted", "random"].separated and found["distance_weighted", "random"].equivalent
    noisy = by_names(compare_pairs(drawn(seeds=3, effects=(0.0, 0.004), noise=0.004)))["hard", "random"]
    assert not noisy.separated and not noisy.equivalent
    assert not by_names(compare_pairs(values, bound=0.001))["distance_weighted", "random"].equivalent


def test_effect_sizes_need_ten_seeds():
    assert all(each.effect is None for each in compare_pairs(drawn(seeds=9)))
    values = drawn(seeds=10)
    found = by_names(compare_pairs(values))["hard", "random"]
    rows = values.loc["Omniglot"].loc[["hard", "random"]].to_numpy()
    assert found.effect == difference(*rows).effect is not None


def test_a_single_seed_has_differences_and_no_tests():
    found = compare_pairs(drawn(seeds=1))
    assert [(each.low, each.p, each.detectable, each.number) for each in found] == [(None, None, None, 1)] * 6


def test_equal_and_constant_differences_have_no_nan():
    values = drawn(seeds=3, noise=0.0, effects=(0.0, 0.0, 0.02, 0.003))
    found = by_names(compare_pairs(values))
    assert found["hard", "random"].p == 1.0 and found["hard", "random"].equivalent
    constant = found["semi_hard", "random"]
    assert constant.p is None and not constant.separated and not constant.equivalent
    assert (constant.low, constant.high) == pytest.approx((0.02, 0.02))


def test_the_detectable_difference_agrees_with_statsmodels():
    effect = detectable_difference(0.003, 12) / 0.003 / math.sqrt(13)
    assert effect == pytest.approx(TTestPower().solve_power(nobs=13, alpha=0.05, power=0.8), rel=1e-3)


@pytest.mark.parametrize("level", [0.05, 0.05 / 36])
@pytest.mark.parametrize("freedom", [1, 2, 5, 57])
def test_the_detectable_difference_has_its_power(freedom, level):
    """The power is integrated over the χ² distribution: scipy's noncentral t distribution is NaN at some points."""
    noncentrality = detectable_difference(1.0, freedom, level)
    critical = scipy.stats.t.ppf(1 - level / 2, freedom)

    def density(square):
        tail = scipy.stats.norm.cdf(noncentrality - critical * math.sqrt(square / freedom))
        return tail * scipy.stats.chi2.pdf(square, freedom)

    power, _ = scipy.integrate.quad(density, 0, 20 * freedom + 50, limit=400, points=[0.01, 0.1, 1, freedom])
    assert power == pytest.approx(0.8, abs=1e-3)


def test_the_seeds_that_an_interval_needs():
    # t(0.975, min(3 + n - 1, 3 (n - 1))) × 0.0042 × √(2/n): 6 seeds give 0.00559 and 7 seeds 0.00508, 8 give 0.00468.
    assert seeds_for_interval(0.0042, 4, 0.005) == 8
    half = scipy.stats.t.ppf(0.975, 10) * 0.0042 * math.sqrt(2 / 8)
    assert half <= 0.005 < scipy.stats.t.ppf(0.975, 9) * 0.0042 * math.sqrt(2 / 7)
    assert seeds_for_interval(1.0, 4, 0.005) is None


def test_the_probability_of_improvement_counts_seeds():
    found = probability_of_improvement([0.9, 0.8, 0.7, 0.6], [0.8, 0.7, 0.6, 0.7])
    expected = scipy.stats.binomtest(3, 4).proportion_ci(0.95, method="exact")
    assert found.share == 0.75 and (found.low, found.high) == pytest.approx((expected.low, expected.high))
    tied = probability_of_improvement([0.9, 0.8, 0.7, 0.6], [0.8, 0.7, 0.7, 0.7])
    assert tied.share == 0.625
    assert tied.low == pytest.approx(exact_interval(2, 4)[0]) and tied.high == pytest.approx(exact_interval(3, 4)[1])


def test_the_lower_value_is_better_for_an_error_rate():
    values = drawn(strategies=("random", "hard"), effects=(0.0, 0.1))
    assert compare_pairs(values)[0].improvement.share == 1.0
    assert compare_pairs(values, higher_is_better=False)[0].improvement.share == 0.0


def test_the_simulation_estimates_pairs_as_the_report_does():
    run_TS = drawn(seeds=5).to_numpy()
    simulated = estimate_pairs(run_TS[None, None])
    found = by_names(compare_pairs(drawn(seeds=5)))
    for number, (a, b) in enumerate(PAIRS):
        pair = found[STRATEGIES[b], STRATEGIES[a]]
        assert simulated.difference_NDQ[0, 0, number] == pytest.approx(pair.mean)
        half = scipy.stats.t.ppf(0.975, pair.freedom) * simulated.error_NDQ[0, 0, number]
        assert pair.high - pair.mean == pytest.approx(half)
        assert (simulated.freedom, simulated.pooled_freedom) == (pair.freedom, pair.pooled_freedom)
        assert simulated.pooled_error_ND[0, 0] == pytest.approx(pair.pooled_error)
