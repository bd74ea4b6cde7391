"""The first validation that reaches a level counts, and runs that never reach it are counted."""

from synthetic import run, written

from siamese_lab.runs.results import Point
from siamese_lab.study import runs
from siamese_lab.study.tables.times import times
from siamese_lab.study.time_to_recall import informative_levels, times_to_recall


def run_with(recalls, **options):
    """Return a run with these validations after 10, 20, … steps of a second and 100 triplets each."""
    points = [Point(10 * n, 1000 * n, {}, {"recall@1": value}) for n, value in enumerate(recalls, 1)]
    return run(history=points, seconds_of_history=[10.0 * n for n in range(1, len(points) + 1)], **options)


def reached(folder, *levels):
    return times_to_recall(runs.curves(runs.read_study(folder)), levels)


def test_the_first_validation_counts_even_if_a_later_one_is_worse(tmp_path):
    written(tmp_path, run_with([0.3, 0.6, 0.4, 0.7]), run_with([0.5, 0.49, 0.9, 0.9], seed=1))
    (half,) = reached(tmp_path, 0.5)
    assert (half.runs, half.reached, half.steps) == (2, 2, [20, 10])
    assert (half.triplets, half.seconds) == ([2000, 1000], [20.0, 10.0])


def test_a_run_that_never_reaches_the_level_is_counted_without_a_time(tmp_path):
    written(tmp_path, run_with([0.3, 0.6]), run_with([0.3, 0.4], seed=1), run_with([0.1, 0.2], strategy="hard"))
    plain, hard = reached(tmp_path, 0.5)
    assert (plain.runs, plain.reached, plain.seconds) == (2, 1, [20.0])
    assert (hard.runs, hard.reached, hard.seconds) == (1, 0, [])
    seconds, triplets = times([plain, hard])
    assert seconds.shown.iloc[0].to_dict() == {
        "data": "Omniglot",
        "Recall@1": "50%",
        "random": "20, 1 of 2",
        "hard": "not reached",
    }
    assert triplets.shown.iloc[0]["random"] == "2, 1 of 2"
    assert seconds.numbers[["runs", "reached"]].to_numpy().tolist() == [[2, 1], [1, 0]]


def test_levels_reached_at_once_or_never_are_omitted(tmp_path):
    written(tmp_path, run_with([0.6, 0.8]), run_with([0.7, 0.9], strategy="hard"))
    assert sorted({each.level for each in informative_levels(reached(tmp_path, 0.5, 0.65, 0.85, 0.95))}) == [0.65, 0.85]
    assert times(reached(tmp_path, 0.5, 0.95)) == []


def test_a_level_is_reached_by_an_equal_recall(tmp_path):
    written(tmp_path, run_with([0.4, 0.5]))
    assert reached(tmp_path, 0.5)[0].steps == [20]


def test_runs_without_a_history_have_no_time(tmp_path):
    written(tmp_path, run(history=[], seconds_of_history=[]))
    assert reached(tmp_path, 0.5) == []
