"""The sentences that answer the question follow from the statistics, and name their limitations."""

import pytest
from synthetic import run, study, written

from siamese_lab.study import runs
from siamese_lab.study.analysis import analyze
from siamese_lab.study.conclusions import answer


def answered(folder):
    return answer(analyze(runs.read_study(folder), [0.5]))


def test_clear_differences_are_named_with_their_size(tmp_path):
    gains = {"random": 0.0, "hard": -0.05, "semi_hard": 0.1}
    for data in ("digits", "omniglot"):
        for strategy, gain in gains.items():
            for seed in range(5):
                wiggle = 0.001 * (seed if strategy == "hard" else -seed if strategy == "semi_hard" else 0)
                written(tmp_path, run(data, strategy, seed, recall=0.6 + gain + wiggle))
    first, second = answered(tmp_path)
    assert first == (
        "Test Recall@1 compared with random sampling: hard is lower on Digits (−4.8 points) and Omniglot (−4.8 "
        "points); semi_hard is higher on Digits (+9.8 points) and Omniglot (+9.8 points)."
    )
    assert second.startswith(
        "Average ranks over 2 data sets are semi_hard 1.00, random 2.00 and hard 3.00; the differences are not"
    )


def test_differences_that_are_not_significant_are_named(tmp_path):
    first, second, third = answered(study(tmp_path, effect=0.0, noise=0.01))
    assert first == "No strategy differs significantly from random sampling in test Recall@1 on any of 4 data sets."
    assert "the differences are not significant (Friedman’s p = " in second
    assert third == "Limitations: 3 seeds can only show large differences."


def test_significant_and_other_differences_are_reported_together(tmp_path):
    study(tmp_path, data=("omniglot",), strategies=("random", "hard"), effect=0.0, seeds=5)
    written(tmp_path, *(run("omniglot", "semi_hard", seed, effect=0.2) for seed in range(5)))
    first, second = answered(tmp_path)
    assert first.startswith("Test Recall@1 compared with random sampling: semi_hard is higher on Omniglot (+")
    assert first.endswith("; 1 of the 2 comparisons show no significant difference.")
    assert "no ranks over data sets" in second


def test_ranks_differ_significantly_over_enough_data_sets(tmp_path):
    data = ("digits", "omniglot", "lfw", "mnist:closed", "mnist:disjoint", "fashion_mnist:closed")
    for number, name in enumerate(data):
        for strategy, gain in (("random", 0.0), ("hard", 0.1), ("semi_hard", 0.2)):
            written(tmp_path, *(run(name, strategy, seed, recall=0.3 + gain + 0.01 * number) for seed in range(2)))
    _, second, _ = answered(tmp_path)
    assert second == (
        "Average ranks over 6 data sets are semi_hard 1.00, hard 2.00 and random 3.00; significantly, semi_hard ranks "
        "before random (Friedman’s p < 0.001, critical difference 1.35)."
    )


def test_one_seed_cannot_separate_anything(tmp_path):
    first, *_ = answered(study(tmp_path, seeds=1))
    assert "only one seed" in first and first.endswith("no strategy is separated from random sampling.")


def test_without_random_sampling_there_is_no_comparison(tmp_path):
    written(tmp_path, run(strategy="hard"), run(strategy="semi_hard"))
    assert answered(tmp_path)[0].startswith("No strategy shares a data set and a seed with random sampling")


def test_one_strategy(tmp_path):
    written(tmp_path, run(strategy="hard"), run(strategy="hard", seed=1))
    assert answered(tmp_path) == ["All finished runs use hard, so there is nothing to compare."]


def test_limitations_are_the_last_sentence(tmp_path):
    study(tmp_path, data=("omniglot",), strategies=("random", "hard"), seeds=5)
    written(tmp_path, run(seed=3, commit="b" * 40), run(strategy="hard", seed=4, status="failed", error="x"))
    written(tmp_path, run("digits", "random", steps=7), run("digits", "hard"))
    *_, last = answered(tmp_path)
    assert last == (
        "Limitations: as few as one seed can only show large differences; 9 of 20 jobs have not finished; "
        "options other than the strategy differ; the runs used several versions of the code."
    )


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_answer_has_at_most_three_sentences(tmp_path, seeds):
    assert len(answered(study(tmp_path, seeds=seeds))) <= 3
