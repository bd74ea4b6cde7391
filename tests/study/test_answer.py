"""The answer follows from the tests of all pairs, counts only cells that may count, and names its limitations."""

from itertools import product

import pytest
from synthetic import run, study, written

from siamese_lab.study import runs
from siamese_lab.study.analysis import analyze
from siamese_lab.study.answer import answer

FLOORS = {"pixels": {"recall@1": 0.3}, "untrained": {"recall@1": 0.2}}


def answered(folder):
    return answer(analyze(runs.read_study(folder), [0.5]))


def of_one(folder):
    """Return the only paragraph about a data set."""
    (paragraph,) = answered(folder).of_data
    return paragraph


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
    first, second = answered(clear(tmp_path, ("digits", "omniglot"))).of_data
    assert first == (
        "Digits (5 seeds): semi_hard (69.8%) is above hard by 14.6 points [14.3 … 14.9] and random by 9.8 points [9.6 "
        "… 10.0]; random (60.0%) is above hard by 4.8 points [4.6 … 5.0]."
    )
    assert second.startswith("Omniglot (5 seeds): semi_hard (69.8%)")


def test_pairs_that_are_not_settled_come_with_what_would_have_been_detected(tmp_path):
    found = answered(study(tmp_path, data=("digits", "lfw"), effect=0.0, noise=0.01))
    assert found.of_data[0].startswith(
        "Digits (3 seeds): no two strategies differ significantly. There, 6 of 6 pairs are not settled (differences of "
    )
    assert found.of_data[0].endswith(" points would have been detected).")
    assert found.limitations == [
        "Limitations: 3 seeds can only show large differences; whether more steps would change the results was not "
        "checked on any data set; raw pixels were not measured on any data set."
    ]


def test_equivalent_strategies_are_named(tmp_path):
    clear(tmp_path, gains={"random": 0.0, "distance_weighted": 0.0001, "semi_hard": 0.1})
    assert of_one(tmp_path).endswith(" There, distance_weighted and random are equivalent within ±0.5 points.")


def test_a_column_whose_best_strategy_does_not_beat_its_floor_does_not_count(tmp_path):
    floors = {"pixels": {"recall@1": 0.9}, "untrained": {"recall@1": 0.95}}
    clear(tmp_path, floors=floors)
    assert of_one(tmp_path) == (
        "Omniglot: the best strategy, semi_hard (69.8%), does not beat the untrained network (95.0%), so its "
        "differences do not count."
    )


def test_collapsed_cells_and_cells_below_raw_pixels_do_not_count(tmp_path):
    clear(tmp_path, floors={"pixels": {"recall@1": 0.58}})
    assert of_one(tmp_path) == (
        "Omniglot (5 seeds): semi_hard (69.8%) is above random by 9.8 points [9.6 … 10.0]. "
        "There, hard does not count, because it is not above raw pixels."
    )
    written(tmp_path, *(run(strategy="hard", seed=seed, recall=0.7, collapsed=True) for seed in range(5)))
    assert of_one(tmp_path).endswith("hard does not count, because it collapsed.")


def test_cells_that_twice_the_steps_move_have_a_sentence_of_their_own(tmp_path):
    clear(tmp_path / "standard")
    clear(tmp_path / "double", steps=2000, gains={"random": 0.0, "hard": -0.05}, moved=0.02)
    clear(tmp_path / "double", steps=2000, gains={"semi_hard": 0.1}, moved=0.004)
    only = of_one(tmp_path)
    assert only.startswith(
        "Omniglot (5 seeds), at the study's number of steps only, because random and hard have not converged: "
        "semi_hard (69.8%) is above hard by "
    )
    assert " points [9.6 … 10.0]" in only
    assert only.endswith(" With twice the steps (5 seeds), random gains 2.0 points and hard gains 2.0 points.")


def test_equivalent_strategies_are_named_before_what_twice_the_steps_move(tmp_path):
    gains = {"random": 0.0, "distance_weighted": 0.0001, "semi_hard": 0.1}
    clear(tmp_path / "standard", gains=gains)
    clear(tmp_path / "double", steps=2000, gains=gains, moved=0.02)
    assert (
        " There, distance_weighted and random are equivalent within ±0.5 points. With twice the steps (5 seeds), "
        "random gains 2.0 points"
    ) in of_one(tmp_path)


def test_differences_of_converged_cells_come_first(tmp_path):
    clear(tmp_path / "standard")
    clear(tmp_path / "double", steps=2000, gains={"hard": -0.05}, moved=-0.02)
    clear(tmp_path / "double", steps=2000, gains={"random": 0.0, "semi_hard": 0.1}, moved=0.004)
    only = of_one(tmp_path)
    assert only.startswith(
        "Omniglot (5 seeds): semi_hard (69.8%) is above random by 9.8 points [9.6 … 10.0]. "
        "There, at the study's number of steps only, because hard has not converged: semi_hard (69.8%) is "
    )
    assert "random (60.0%) is above hard by" in only
    assert only.endswith("With twice the steps (5 seeds), hard loses 2.0 points.")


def test_converged_cells_with_floors_leave_no_limitation(tmp_path):
    clear(tmp_path / "standard")
    clear(tmp_path / "double", steps=2000)
    found = answered(tmp_path)
    assert found.of_data[0].startswith("Omniglot (5 seeds): semi_hard (69.8%) is above")
    assert (found.summary, found.limitations) == ([], [])


def test_one_seed_cannot_separate_anything(tmp_path):
    assert "One seed cannot separate a difference from chance." in of_one(study(tmp_path, seeds=1))


def test_one_strategy(tmp_path):
    written(tmp_path, run(strategy="hard"), run(strategy="hard", seed=1))
    assert answered(tmp_path).sentences == ["All finished runs use hard, so there is nothing to compare."]


def test_of_many_strategies_only_the_differences_of_the_best_are_listed(tmp_path):
    gains = {"random": 0.0, "hard": -0.05, "semi_hard": 0.1, "distance_weighted": 0.15, "mine": 0.2}
    only = of_one(clear(tmp_path, gains=gains))
    assert only.startswith("Omniglot (5 seeds): mine (80.0%) is above hard by ")
    assert only.endswith("; 6 further pairs differ.")


def test_limitations_are_the_last_sentence(tmp_path):
    study(tmp_path, data=("omniglot",), strategies=("random", "hard"), seeds=5)
    written(tmp_path, run(seed=3, commit="b" * 40), run(strategy="hard", seed=4, status="failed", error="x"))
    written(tmp_path, run("digits", "random", steps=7), run("digits", "hard"))
    assert answered(tmp_path).sentences[-1] == (
        "Limitations: as few as one seed can only show large differences; whether more steps would change the results "
        "was not checked on any data set; raw pixels were not measured on any data set; 1 of 12 jobs have not "
        "finished; options other than the strategy differ; the runs used several versions of the code."
    )


UNITS = " Differences are percentage points of test Recall@1. Significant means p ≤ 0.05 after Holm's correction."
AMONG = "A strategy is among the best on a data set if no other one is significantly above it: "
AGAINST = "Compared with random sampling, "


def test_the_summary_says_on_which_data_sets_a_strategy_is_among_the_best(tmp_path):
    clear(tmp_path, ("digits", "omniglot"))
    clear(tmp_path, ("mnist",), gains={"random": 0.1, "hard": 0.0, "semi_hard": 0.102})
    scope, best, semi_hard, hard = answered(tmp_path).summary
    assert scope == "The answer counts 3 of 3 data sets." + UNITS
    assert best == f"{AMONG}semi_hard on all 3; random only on MNIST; hard on none."
    assert semi_hard == (
        f"{AGAINST}semi_hard gains 9.8 points on Digits and 9.8 on Omniglot. It does not differ significantly on MNIST."
    )
    assert hard == f"{AGAINST}hard loses on 3 data sets, from 4.8 points on Omniglot to 9.8 on MNIST."


def test_the_summary_names_gains_and_losses(tmp_path):
    clear(tmp_path, ("digits", "omniglot"), gains={"random": 0.0, "hard": 0.05, "semi_hard": 0.002})
    clear(tmp_path, ("mnist",), gains={"random": 0.0, "hard": -0.05, "semi_hard": 0.002})
    _, best, hard, semi_hard = answered(tmp_path).summary
    assert best == f"{AMONG}hard on all except MNIST; random only on MNIST; semi_hard only on MNIST."
    assert hard == f"{AGAINST}hard gains 5.2 points on Digits and 5.2 on Omniglot. It loses 4.8 points on MNIST."
    assert semi_hard == f"{AGAINST}semi_hard does not differ significantly on Digits, MNIST and Omniglot."


def test_the_summary_excludes_data_sets_below_their_floor_and_without_a_test(tmp_path):
    clear(tmp_path, ("digits", "omniglot"))
    clear(tmp_path, ("mnist:closed",), floors={"pixels": {"recall@1": 0.9}})
    clear(tmp_path, ("fashion_mnist:disjoint",), floors={"untrained": {"recall@1": 0.9}})
    written(tmp_path, run("lfw"), run("lfw", "hard"))
    assert answered(tmp_path).summary[0] == (
        "The answer counts 2 of 5 data sets. MNIST (closed) is excluded: no strategy is above raw pixels there. "
        "Fashion-MNIST (disjoint) is excluded: no strategy is above the untrained network there. LFW (View 1) is "
        "excluded: fewer than two strategies count there, or share two seeds." + UNITS
    )


def test_a_strategy_that_does_not_count_on_a_data_set_is_not_called_worse(tmp_path):
    clear(tmp_path, ("digits", "mnist", "omniglot"))
    clear(tmp_path, ("omniglot",), gains={"semi_hard": 0.1}, collapsed=True)
    scope, best, left_out, *_ = answered(tmp_path).summary
    assert scope == "The answer counts 3 of 3 data sets." + UNITS
    assert best == f"{AMONG}semi_hard on all 2 on which it counts; random only on Omniglot; hard on none."
    assert left_out == "semi_hard does not count on Omniglot: it collapsed there, or is not above its floor."


def test_the_summary_names_four_strategies_and_the_number_of_the_others(tmp_path):
    gains = {"random": 0.0, "b": 0.02, "c": 0.04, "d": 0.06, "e": 0.1, "f": 0.08}
    for data, (strategy, gain), seed in product(("digits", "omniglot"), gains.items(), range(5)):
        wiggle = 0.001 * ((seed + ord(strategy[0])) % 3 - 1)
        written(tmp_path, run(data, strategy, seed, recall=0.6 + gain + wiggle))
    _, best, *against = answered(tmp_path).summary
    assert best.startswith(f"{AMONG}e on all 2; ") and best.endswith("the table of all pairs has 2 further strategies.")
    assert len(against) == 4 and against[0].startswith(f"{AGAINST}e gains 10.")


def test_the_lead_at_both_numbers_of_steps_is_that_of_the_seeds_that_have_both(tmp_path):
    """Strategies whose twice the steps ran with other seeds have no lead to compare; the lead of all seeds differs."""
    clear(tmp_path / "standard", ("digits", "mnist", "omniglot"))
    for data, moved in (("mnist", 0.02), ("digits", 0.01)):
        for strategy, gain, change, seeds in (("random", 0.0, moved, (3, 4)), ("semi_hard", 0.1, 0.004, (2, 3))):
            for seed in seeds:
                recall = 0.6 + gain + change - (0.001 * seed if strategy == "semi_hard" else 0)
                written(tmp_path / "double", run(data, strategy, seed, recall=recall, steps=2000, floors=FLOORS))
    *_, converged = answered(tmp_path).summary
    assert converged == (
        "Not all strategies have converged on Digits and MNIST: twice the steps move a strategy by more than 0.5 "
        "points, or turn the sign of a difference. The differences there describe training with the study's number of "
        "steps. With twice the steps, the lead of semi_hard over random sampling goes from 9.7 to 9.1 points on Digits "
        "(1 seed) and from 9.7 to 8.1 points on MNIST (1 seed)."
    )


def test_the_summary_works_without_random_sampling(tmp_path):
    clear(tmp_path, ("digits", "omniglot"), gains={"hard": -0.05, "semi_hard": 0.1})
    _, best = answered(tmp_path).summary
    assert best == f"{AMONG}semi_hard on all 2; hard on none."


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_answer_has_a_summary_one_paragraph_for_each_data_set_and_one_sentence_of_limitations(tmp_path, seeds):
    found = answered(study(tmp_path, data=("omniglot", "lfw"), seeds=seeds))
    assert (len(found.summary), len(found.of_data), len(found.limitations)) == (5, 2, 1)
