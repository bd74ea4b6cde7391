"""Strategies are compared with random sampling on the same seeds, and the error rate is the documented one."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from synthetic import run, study, written

from siamese_lab.study import comparison, runs

STRATEGIES = ("random", "hard", "semi_hard", "distance_weighted")
DATA = ("a", "b", "c", "d")


def recalls_of(folder, metric="recall@1"):
    return comparison.values_of_metric(runs.figures(runs.read_study(folder)), metric)


def drawn(generator, effects, seeds=3, deviation=0.01, shared=0.02):
    """Return Recall@1 of a study: normal, with a part that all strategies of a seed and data set share."""
    index = pd.MultiIndex.from_product([DATA, STRATEGIES], names=["data", "strategy"])
    own = generator.normal(0, deviation, (len(DATA), len(STRATEGIES), seeds))
    common = generator.normal(0, shared, (len(DATA), 1, seeds))
    means = 0.8 + np.array([effects.get(strategy, 0.0) for strategy in STRATEGIES])[:, None]
    return pd.DataFrame((means + own + common).reshape(-1, seeds), index=index, columns=range(seeds))


def test_differences_pair_equal_seeds_in_any_order_of_the_files(tmp_path):
    recall = {("random", 0): 0.80, ("random", 1): 0.70, ("random", 2): 0.60, ("random", 3): 0.10}
    recall |= {("hard", 2): 0.64, ("hard", 1): 0.72, ("hard", 0): 0.81, ("hard", 7): 0.99}
    written(tmp_path, *(run(strategy=name, seed=seed, recall=value) for (name, seed), value in recall.items()))
    (found,) = comparison.compare_with_baseline(recalls_of(tmp_path))
    test = scipy.stats.ttest_rel([0.81, 0.72, 0.64], [0.80, 0.70, 0.60])
    assert found.difference.number == 3, "seeds 3 and 7 have no partner"
    assert found.difference.mean == pytest.approx((0.01 + 0.02 + 0.04) / 3)
    assert found.difference.p == found.corrected_p == pytest.approx(test.pvalue)


def test_the_family_contains_all_strategies_and_data_sets_of_a_metric(tmp_path):
    compared = comparison.compare_with_baseline(recalls_of(study(tmp_path)))
    assert len(compared) == 12
    raw = [each.difference.p for each in compared]
    smallest = min(range(12), key=lambda number: raw[number])
    assert compared[smallest].corrected_p == pytest.approx(12 * raw[smallest])


def test_without_random_sampling_or_a_common_seed_there_is_no_comparison(tmp_path):
    written(
        tmp_path, run(strategy="hard"), run(strategy="semi_hard"), run("digits", "random"), run("digits", "hard", 1)
    )
    assert comparison.compare_with_baseline(recalls_of(tmp_path)) == []


@pytest.mark.slow
def test_without_true_differences_at_most_one_study_of_twenty_has_a_false_alarm():
    generator = np.random.default_rng(0)
    studies = 400
    alarms = sum(
        any(each.significant for each in comparison.compare_with_baseline(drawn(generator, {}))) for _ in range(studies)
    )
    # At a rate of 5%, more than this many occur once in a thousand times.
    assert alarms <= scipy.stats.binom.ppf(0.999, studies, 0.05)


def test_without_the_correction_the_simulation_has_false_alarms():
    generator = np.random.default_rng(0)
    studies = 60
    alarms = sum(
        any(each.difference.p <= 0.05 for each in comparison.compare_with_baseline(drawn(generator, {})))
        for _ in range(studies)
    )
    assert alarms > scipy.stats.binom.ppf(0.999, studies, 0.05)


@pytest.mark.slow
def test_intervals_cover_a_known_difference_and_a_known_mean_at_their_level():
    generator = np.random.default_rng(1)
    effects = {"hard": -0.01, "semi_hard": 0.03, "distance_weighted": 0.05}
    of_differences, of_means = [], []
    for _ in range(80):
        values = drawn(generator, effects)
        for each in comparison.compare_with_baseline(values):
            of_differences.append(each.difference.low <= effects[each.strategy] <= each.difference.high)
        for (data, strategy), each in comparison.estimates(values).items():
            # Only one cell of each data set, because the cells of a data set are correlated.
            if strategy == STRATEGIES[DATA.index(data)]:
                of_means.append(each.low <= 0.8 + effects.get(strategy, 0.0) <= each.high)
    # All differences of a data set contain the same random sampling, so they count as fewer independent ones.
    for covered, independent in ((of_differences, len(of_differences) / 3), (of_means, len(of_means))):
        error = np.sqrt(0.95 * 0.05 / independent)
        assert abs(np.mean(covered) - 0.95) < 3.3 * error


def test_a_large_difference_is_found_and_has_its_sign():
    values = drawn(np.random.default_rng(2), {"hard": -0.2, "semi_hard": 0.2}, seeds=5)
    compared = comparison.compare_with_baseline(values)
    found = {(each.data, each.strategy): each for each in compared}
    assert all(found[data, "hard"].significant and found[data, "hard"].difference.mean < 0 for data in DATA)
    assert all(found[data, "semi_hard"].significant and found[data, "semi_hard"].difference.mean > 0 for data in DATA)
