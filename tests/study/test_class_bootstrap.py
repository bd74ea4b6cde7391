"""The bootstrap over seeds and classes agrees with variances by formula, for shared and for own classes."""

import numpy as np
import pytest

from siamese_lab.study.class_bootstrap import bootstrap_difference


def test_without_differences_between_classes_the_error_is_that_of_seeds():
    of_seed = np.array([0.01, 0.02, 0.04, 0.01, 0.03])
    first = np.repeat(of_seed[:, None], 12, axis=1)
    found = bootstrap_difference(first, np.zeros_like(first), samples=20_000)
    assert found.mean == pytest.approx(of_seed.mean())
    assert found.error == pytest.approx(of_seed.std(ddof=1) / np.sqrt(5), rel=0.02)
    assert found.error_of_seeds == pytest.approx(of_seed.std(ddof=1) / np.sqrt(5))
    assert found.freedom == pytest.approx(4, rel=0.05)


def test_with_equal_seeds_the_error_is_that_of_classes():
    of_class = np.random.default_rng(0).normal(0.02, 0.1, 30)
    first = np.repeat(of_class[None], 4, axis=0)
    found = bootstrap_difference(first, np.zeros_like(first), samples=20_000)
    assert found.error == pytest.approx(of_class.std(ddof=1) / np.sqrt(30), rel=0.02)
    assert found.error_of_seeds == pytest.approx(0, abs=1e-12)
    assert found.freedom == pytest.approx(29, rel=0.02)


def test_with_own_classes_of_each_seed_the_error_is_that_of_seeds():
    rng = np.random.default_rng(0)
    first = np.full((6, 60), np.nan)
    for seed in range(6):
        first[seed, 10 * seed : 10 * seed + 10] = rng.normal(0, 0.1, 10)
    found = bootstrap_difference(first, np.where(np.isnan(first), np.nan, 0.0), samples=20_000)
    of_seed = np.nanmean(first, axis=1)
    assert found.mean == pytest.approx(of_seed.mean())
    assert found.error == pytest.approx(of_seed.std(ddof=1) / np.sqrt(6), rel=0.02)


def test_a_class_that_several_seeds_test_is_drawn_for_all_of_them():
    of_class = np.random.default_rng(0).normal(0.02, 0.1, 4)
    first = np.where(np.eye(4, dtype=bool), np.nan, of_class)  # each seed leaves out one of four classes
    found = bootstrap_difference(first, np.where(np.isnan(first), np.nan, 0.0), samples=20_000)
    # Classes that were drawn for each seed alone would average out over seeds.
    alone = np.mean([np.nanvar(row, ddof=1) / 3 for row in first]) / 4
    assert found.error**2 > 2 * alone + found.error_of_seeds**2 / 2


def test_queries_weight_the_classes():
    first = np.array([[1.0, 0.0], [1.0, 0.0]])
    queries = np.array([[30.0, 10.0], [30.0, 10.0]])
    assert bootstrap_difference(first, np.zeros_like(first), queries).mean == pytest.approx(0.75)
    assert bootstrap_difference(first, np.zeros_like(first)).mean == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).normal(0, 0.1, (4, 8))
    found = [bootstrap_difference(values, np.zeros_like(values), seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((1, 5)), np.zeros((1, 5)), "2 seeds"),
        (np.zeros((3, 1)), np.zeros((3, 1)), "2 classes"),
        (np.zeros((2, 2)), np.array([[0.0, np.nan], [0.0, 0.0]]), "same classes"),
    ],
)
def test_too_few_seeds_or_classes_and_other_classes_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_difference(first, second)
