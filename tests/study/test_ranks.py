"""Average ranks, Friedman's test and the critical difference agree with the paper's example and with libraries."""

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
import scipy.stats

from siamese_lab.study.ranks import critical_difference, friedman_p, rank
from siamese_lab.study.tables.average_ranks import average_ranks

# Demšar 2006, ReportTable 6: AUC of C4.5 and three ways to tune it on fourteen data sets of the UCI repository.
C45 = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.9749],  # printed as 0.975 too, but ranked third
        [0.957, 0.978, 0.946, 0.970],
    ]
)
STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")


def values(table_ND, strategies=STRATEGIES, seeds=1):
    """Return a table of data sets by strategies, with the same values in every seed."""
    index = pd.MultiIndex.from_product(
        [[f"set {number:02}" for number in range(len(table_ND))], strategies], names=["data", "strategy"]
    )
    return pd.DataFrame(np.repeat(np.reshape(table_ND, (-1, 1)), seeds, axis=1), index=index, columns=range(seeds))


def test_the_example_of_the_paper_is_reproduced():
    found = rank(values(C45))
    assert [round(found.average[name], 3) for name in STRATEGIES] == [3.143, 2.0, 2.893, 1.964]
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    squares = sum(average**2 for average in found.average.values())
    assert 12 * 14 / 20 * (squares - 4 * 25 / 4) == pytest.approx(9.28, abs=0.005), "Demšar's χ², without ties"
    assert found.p == pytest.approx(scipy.stats.friedmanchisquare(*C45.T).pvalue, abs=0.01)
    assert len(found.data) == 14


def test_nemenyis_difference_agrees_with_scikit_posthocs():
    table = np.random.default_rng(0).normal(np.arange(6) * 0.8, 1.0, (12, 6))
    names = [f"s{number}" for number in range(6)]
    found = rank(values(table, names))
    p_values = scikit_posthocs.posthoc_nemenyi_friedman(-table).to_numpy()
    apart = {frozenset((names[i], names[j])) for i in range(6) for j in range(i) if p_values[i, j] <= 0.05}
    assert {frozenset(pair) for pair in found.significant_pairs} == apart
    assert 0 < len(apart) < 15


def test_critical_differences_agree_with_the_table_of_the_paper():
    # q at 5% for 2, 4, 10 classifiers: 1.960, 2.569, 3.164 (Demšar 2006, ReportTable 5a).
    for number, q in ((2, 1.960), (4, 2.569), (10, 3.164)):
        assert critical_difference(number, 6) == pytest.approx(q * np.sqrt(number * (number + 1) / 36), abs=1e-3)


def test_friedmans_p_is_exact_for_few_data_sets():
    # Three data sets that agree on the order of three strategies: 3! orders that all may share, of (3!)³.
    assert friedman_p(np.array([[1.0, 2, 3]] * 3)) == pytest.approx(6 / 6**3)
    assert friedman_p(np.array([[1.0, 2], [2, 1]])) == pytest.approx(1.0)
    assert friedman_p(np.ones((4, 3)) * 2) == pytest.approx(1.0)


def test_friedmans_p_approaches_scipys_for_many_data_sets():
    table = np.random.default_rng(1).normal(np.array([0, 0.1, 0.2, 0.45]), 1.0, (60, 4))
    ranks = scipy.stats.rankdata(table, axis=1)
    assert friedman_p(ranks) == pytest.approx(scipy.stats.friedmanchisquare(*table.T).pvalue, abs=0.01)


def test_ties_share_their_ranks_and_a_lower_error_is_better():
    table = np.array([[0.5, 0.7, 0.7, 0.9], [0.1, 0.2, 0.2, 0.3]])
    assert rank(values(table)).average == {"distance_weighted": 1.0, "hard": 2.5, "semi_hard": 2.5, "random": 4.0}
    assert next(iter(rank(values(table), higher_is_better=False).average.items())) == ("random", 1.0)


def test_means_that_differ_by_rounding_tie():
    index = pd.MultiIndex.from_product([["a", "b"], ["random", "hard"]], names=["data", "strategy"])
    found = rank(pd.DataFrame([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]] * 2, index=index))
    assert found.average == {"random": 1.5, "hard": 1.5}
    assert found.significant_pairs == []


def test_a_data_set_without_a_strategy_is_excluded_and_named():
    found = rank(values(C45[:4]).drop(index=("set 02", "hard")))
    assert found.data == ["set 00", "set 01", "set 03"]
    assert found.left_out == ["set 02"]


def test_a_data_set_is_not_ranked_alongside_another_one_that_replaces_it():
    instead = {"LFW, closed": "LFW, View 1"}
    table = values(C45[:4]).rename(index={"set 00": "LFW, View 1", "set 01": "LFW, closed"}, level="data")
    found = rank(table, instead=instead)
    assert (found.data, found.left_out) == (["LFW, View 1", "set 02", "set 03"], [])
    assert found.unranked == [("LFW, closed", "LFW, View 1")]
    assert found.average == rank(values(C45[[0, 2, 3]])).average
    assert "LFW, closed is not ranked alongside LFW, View 1" in average_ranks({"recall@1": found}).note
    incomplete = rank(table.drop(index=("LFW, View 1", "hard")), instead=instead)
    assert (incomplete.data, incomplete.unranked) == (["LFW, closed", "set 02", "set 03"], [])


def test_only_common_seeds_are_counted():
    table = values(C45[:3], seeds=2)
    table.loc[("set 00", "hard"), 0] = 5.0
    table.loc[("set 00", "semi_hard"), 0] = np.nan
    assert rank(table).average == rank(values(C45[:3])).average
    table.loc[("set 00", "random"), 1] = np.nan
    assert rank(table).left_out == ["set 00"]


def test_one_strategy_or_one_data_set_has_no_ranks():
    assert rank(values(C45[:1])) is None
    assert rank(values(C45[:, :1], STRATEGIES[:1])) is None


def test_bars_join_the_longest_groups_without_a_significant_difference():
    table = np.tile(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), (4, 1))
    names = list("abcdef")
    found = rank(values(table, names))
    assert 3 < found.critical_difference < 4
    assert found.indistinguishable == [list("abcd"), list("bcde"), list("cdef")]
    assert found.significant_pairs == [("a", "e"), ("a", "f"), ("b", "f")]


def test_no_pair_is_significant_if_friedmans_test_is_not():
    # The outer two of many similar strategies can differ by more than the critical difference.
    rng = np.random.default_rng(3)
    for _ in range(40):
        found = rank(values(rng.random((4, 4))))
        assert found.p <= 0.05 or found.significant_pairs == []
