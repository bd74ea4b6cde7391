"""Intervals, tests and effects agree with scipy, statsmodels and arithmetic by hand, also for one or equal seeds."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from siamese_lab.study.statistics import difference, estimate, holm

RANDOM = (0.861, 0.858, 0.866, 0.857, 0.869)
HARD = (0.897, 0.889, 0.901, 0.895, 0.899)


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_interval_of_three_seeds_by_hand():
    # Mean 0.90, standard deviation 0.01; t(2 degrees, 97.5%) = 4.302653; 4.302653 × 0.01 / √3 = 0.0248414.
    found = estimate([0.89, 0.90, 0.91])
    assert found.mean == pytest.approx(0.90)
    assert found.deviation == pytest.approx(0.01)
    assert (found.low, found.high) == (
        pytest.approx(0.9 - 0.0248414, abs=1e-7),
        pytest.approx(0.9 + 0.0248414, abs=1e-7),
    )


def test_the_interval_agrees_with_statsmodels():
    low, high = DescrStatsW(HARD).tconfint_mean(0.05)
    assert estimate(HARD)[:3] == pytest.approx((np.mean(HARD), low, high))


def test_a_single_seed_has_no_interval():
    assert estimate([0.9]) == (0.9, None, None, None, 1)
    assert difference([0.9], [0.8]) == (pytest.approx(0.1), None, None, None, None, 1)


def test_equal_seeds_have_an_interval_of_no_width():
    assert estimate([0.9, 0.9, 0.9]) == (0.9, 0.9, 0.9, 0.0, 3)
    # Floating-point arithmetic does not give this mean exactly.
    found = estimate([0.1] * 3)
    assert found.deviation == 0.0 and found.low == found.high == found.mean


def test_the_paired_difference_agrees_with_scipy():
    found = difference(HARD, RANDOM)
    test = scipy.stats.ttest_rel(HARD, RANDOM)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.mean == pytest.approx(np.mean(HARD) - np.mean(RANDOM))
    assert difference(RANDOM, HARD).mean == pytest.approx(-found.mean)
    assert difference(RANDOM, HARD).p == pytest.approx(found.p)


def test_the_effect_by_hand():
    # Five differences of 0.01 and five of 0.03: mean 0.02, deviation √(10/9) × 0.01, d_z = 2 √(9/10). J(9 degrees) =
    # Γ(4.5) / (√4.5 Γ(4)) = (105 √π / 16) / (6 √4.5) = 0.913875.
    found = difference([0.81, 0.83] * 5, [0.80] * 10)
    assert found.effect == pytest.approx(2 * math.sqrt(0.9) * 105 * math.sqrt(math.pi) / 96 / math.sqrt(4.5))


def test_hedges_correction_removes_the_bias_of_few_seeds():
    drawn = np.random.default_rng(0).normal(1.0, 1.0, size=(20_000, 10))
    effects = [difference(row, np.zeros(10)).effect for row in drawn[:4000]]
    error = np.std(effects) / math.sqrt(len(effects))
    assert abs(np.mean(effects) - 1.0) < 4 * error
    assert np.mean(drawn.mean(1) / drawn.std(1, ddof=1)) > 1.07, "without the correction, the bias is visible"


@pytest.mark.parametrize("number", [2, 9])
def test_fewer_than_ten_seeds_have_a_p_value_but_no_effect(number):
    values, others = np.random.default_rng(0).normal(0.9, 0.01, (2, number))
    found = difference(values, others)
    assert found.p == pytest.approx(scipy.stats.ttest_rel(values, others).pvalue)
    assert found.effect is None


def test_zero_differences_have_a_p_value_of_1():
    assert difference(HARD, HARD) == (0.0, 0.0, 0.0, 1.0, None, 5)


def test_equal_differences_in_every_seed_have_no_p_value():
    found = difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])
    assert found.mean == pytest.approx(0.1)
    assert (found.p, found.effect) == (None, None)


def test_holm_by_hand_and_by_statsmodels():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.04, 0.06, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    p_values = np.random.default_rng(1).random(12)
    assert holm(list(p_values)) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_undefined_p_values_count_as_not_significant():
    assert holm([None, 0.02, None, 0.03]) == [None, pytest.approx(0.08), None, pytest.approx(0.09)]
    tested = multipletests([1.0, 0.02, 1.0, 0.03], method="holm")[1]
    assert holm([None, 0.02, None, 0.03])[1::2] == pytest.approx(tested[1::2].tolist())
    assert holm([None, None]) == [None, None]
    assert holm([]) == []
