"""The answer follows from the tests of all pairs, counts only cells that may count, and names its limitations."""

import pytest
from synthetic import run, study, written

from siamese_lab.study import runs
from siamese_lab.study.analysis import analyze
from siamese_lab.study.answer import answer

FLOORS = {"pixels": {"recall@1": 0.3}, "untrained": {"recall@1": 0.2}}


def answered(folder):
    return answer(analyze(runs.read_study(folder), [0.5]))


def clear(folder, data=("omniglot",), gains=None, steps=1000, moved=0.0, **fields):
    """Write five seeds of strategies with clear differences."""
    for name in data:
        for strategy, gain in (gains or {"random": 0.0, "hard": -0.05, "semi_hard": 0.1}).items():
            for seed in range(5):
                wiggle = 0.001 * (seed if strategy == "hard" else -seed if strategy == "semi_hard" else 0)
                recall = 0.6 + gain + wiggle + moved
                written(folder, run(name, strategy, seed, recall=recall, steps=steps, **{"floors": FLOORS} | fields))
    return folder


def test_significant_differences_are_named_with_their_size_and_interval(tmp_path):
    first, second, *_ = answered(clear(tmp_path, ("digits", "omniglot")))
    assert first == (
        "Digits (5 seeds): semi_hard (69.8%) is above hard by 14.6 points [14.3 … 14.9] and random by 9.8 points [9.6 "
        "… 10.0]; random (60.0%) is above hard by 4.8 points [4.6 … 5.0]."
    )
    assert second.startswith("Omniglot (5 seeds): semi_hard (69.8%)")


def test_pairs_that_are_not_settled_come_with_what_would_have_been_detected(tmp_path):
    *columns, last = answered(study(tmp_path, data=("digits", "lfw"), effect=0.0, noise=0.01))
    assert columns[0] == "Digits (3 seeds): no two strategies differ significantly."
    assert columns[1].startswith("There, 6 of 6 pairs are not settled (differences of ")
    assert columns[1].endswith(" points would have been detected).")
    assert last == (
        "Limitations: 3 seeds can only show large differences; whether more steps would change the results was not "
        "checked on any data set; raw pixels were not measured on any data set."
    )


def test_equivalent_strategies_are_named(tmp_path):
    clear(tmp_path, gains={"random": 0.0, "distance_weighted": 0.0001, "semi_hard": 0.1})
    _, second, _ = answered(tmp_path)
    assert second == "There, distance_weighted and random are equivalent within ±0.5 points."


def test_a_column_whose_best_strategy_does_not_beat_its_floor_does_not_count(tmp_path):
    floors = {"pixels": {"recall@1": 0.9}, "untrained": {"recall@1": 0.95}}
    clear(tmp_path, floors=floors)
    (only,) = answered(tmp_path)
    assert only == (
        "Omniglot: the best strategy, semi_hard (69.8%), does not beat the untrained network (95.0%), so its "
        "differences do not count."
    )


def test_collapsed_cells_and_cells_below_raw_pixels_do_not_count(tmp_path):
    clear(tmp_path, floors={"pixels": {"recall@1": 0.58}})
    first, second, _ = answered(tmp_path)
    assert first == "Omniglot (5 seeds): semi_hard (69.8%) is above random by 9.8 points [9.6 … 10.0]."
    assert second == "There, hard does not count, because it is not above raw pixels."
    written(tmp_path, *(run(strategy="hard", seed=seed, recall=0.7, collapsed=True) for seed in range(5)))
    assert answered(tmp_path)[1].endswith("hard does not count, because it collapsed.")


def test_cells_that_twice_the_steps_move_have_a_sentence_of_their_own(tmp_path):
    clear(tmp_path / "standard")
    clear(tmp_path / "double", steps=2000, gains={"random": 0.0, "hard": -0.05}, moved=0.02)
    clear(tmp_path / "double", steps=2000, gains={"semi_hard": 0.1}, moved=0.004)
    first, second = answered(tmp_path)
    assert first.startswith(
        "Omniglot (5 seeds), at the study's number of steps only, because random and hard have not converged: "
        "semi_hard (69.8%) is above hard by "
    )
    assert " points [9.6 … 10.0]" in first
    assert second == "With twice the steps (5 seeds), random gains 2.0 points and hard gains 2.0 points."


def test_equivalent_strategies_are_named_before_what_twice_the_steps_move(tmp_path):
    gains = {"random": 0.0, "distance_weighted": 0.0001, "semi_hard": 0.1}
    clear(tmp_path / "standard", gains=gains)
    clear(tmp_path / "double", steps=2000, gains=gains, moved=0.02)
    _, second, third = answered(tmp_path)
    assert second == "There, distance_weighted and random are equivalent within ±0.5 points."
    assert third.startswith("With twice the steps (5 seeds), random gains 2.0 points")


def test_differences_of_converged_cells_come_first(tmp_path):
    clear(tmp_path / "standard")
    clear(tmp_path / "double", steps=2000, gains={"hard": -0.05}, moved=-0.02)
    clear(tmp_path / "double", steps=2000, gains={"random": 0.0, "semi_hard": 0.1}, moved=0.004)
    first, second, third = answered(tmp_path)
    assert first == "Omniglot (5 seeds): semi_hard (69.8%) is above random by 9.8 points [9.6 … 10.0]."
    assert second.startswith(
        "There, at the study's number of steps only, because hard has not converged: semi_hard (69.8%) is "
    )
    assert "random (60.0%) is above hard by" in second
    assert third == "With twice the steps (5 seeds), hard loses 2.0 points."


def test_converged_cells_with_floors_leave_no_limitation(tmp_path):
    clear(tmp_path / "standard")
    clear(tmp_path / "double", steps=2000)
    (only,) = answered(tmp_path)
    assert only.startswith("Omniglot (5 seeds): semi_hard (69.8%) is above")


def test_one_seed_cannot_separate_anything(tmp_path):
    first, *_ = answered(study(tmp_path, seeds=1))
    assert "One seed cannot separate a difference from chance." in first


def test_one_strategy(tmp_path):
    written(tmp_path, run(strategy="hard"), run(strategy="hard", seed=1))
    assert answered(tmp_path) == ["All finished runs use hard, so there is nothing to compare."]


def test_of_many_strategies_only_the_differences_of_the_best_are_listed(tmp_path):
    gains = {"random": 0.0, "hard": -0.05, "semi_hard": 0.1, "distance_weighted": 0.15, "mine": 0.2}
    first, *_ = answered(clear(tmp_path, gains=gains))
    assert first.startswith("Omniglot (5 seeds): mine (80.0%) is above hard by ")
    assert first.endswith("; 6 further pairs differ.")


def test_limitations_are_the_last_sentence(tmp_path):
    study(tmp_path, data=("omniglot",), strategies=("random", "hard"), seeds=5)
    written(tmp_path, run(seed=3, commit="b" * 40), run(strategy="hard", seed=4, status="failed", error="x"))
    written(tmp_path, run("digits", "random", steps=7), run("digits", "hard"))
    *_, last = answered(tmp_path)
    assert last == (
        "Limitations: as few as one seed can only show large differences; whether more steps would change the results "
        "was not checked on any data set; raw pixels were not measured on any data set; 1 of 12 jobs have not "
        "finished; options other than the strategy differ; the runs used several versions of the code."
    )


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_answer_has_at_most_two_sentences_for_each_data_set_and_one_of_limitations(tmp_path, seeds):
    assert len(answered(study(tmp_path, data=("omniglot", "lfw"), seeds=seeds))) <= 2 * 2 + 1
