"""A cell of a study is converged, cut off, below its floor or collapsed, by its runs at two budgets."""

import pytest
from synthetic import run

from siamese_lab.study.status import cell_statuses


def runs(means, seeds=3, **changed):
    """Return finished runs; seeds differ by a tenth of a point around each mean."""
    return [
        run(strategy=strategy, seed=seed, recall=mean + 0.001 * (seed - (seeds - 1) / 2), **changed)
        for strategy, mean in means.items()
        for seed in range(seeds)
    ]


def statuses(before, after, **changed):
    return {name: each.status for name, each in cell_statuses(runs(before, **changed), runs(after)).items()}


@pytest.mark.parametrize(
    ("later", "status"), [(0.8, "converged"), (0.8049, "converged"), (0.8051, "cut off"), (0.794, "cut off")]
)
def test_a_cell_has_converged_if_twice_the_steps_move_it_by_half_a_point_at_most(later, status):
    (found,) = cell_statuses(runs({"hard": 0.8}), runs({"hard": later})).values()
    assert found.status == status
    assert found.moved == pytest.approx(later - 0.8)
    assert found.turned == ()


def test_a_turned_sign_cuts_both_strategies_off():
    before, after = (
        {"hard": 0.800, "random": 0.802, "semi_hard": 0.7},
        {"hard": 0.804, "random": 0.801, "semi_hard": 0.7},
    )
    found = cell_statuses(runs(before), runs(after))
    assert {name: each.status for name, each in found.items()} == {
        "hard": "cut off",
        "random": "cut off",
        "semi_hard": "converged",
    }
    assert (found["hard"].turned, found["random"].turned) == (("random",), ("hard",))
    with_ties = cell_statuses(runs(before), runs(after), tie=0.005)
    assert {each.status for each in with_ties.values()} == {"converged"}


def test_a_cell_below_raw_pixels_or_collapsed_says_so_first():
    floors = {"pixels": {"recall@1": 0.85}, "untrained": {"recall@1": 0.9}}
    assert statuses({"hard": 0.8}, {"hard": 0.7}, floors=floors) == {"hard": "below floor"}
    assert statuses({"hard": 0.85}, {"hard": 0.85}, floors=floors) == {"hard": "below floor"}
    assert statuses({"hard": 0.86}, {"hard": 0.86}, floors=floors) == {"hard": "converged"}
    assert statuses({"hard": 0.8}, {"hard": 0.7}, floors=floors, collapsed=True) == {"hard": "collapsed"}
    few = runs({"hard": 0.8})
    few[0].collapsed, few[1].collapsed, few[2].collapsed = True, False, False
    (found,) = cell_statuses(few, runs({"hard": 0.8})).values()
    assert (found.status, found.collapsed) == ("converged", pytest.approx(1 / 3))


def test_without_twice_the_steps_convergence_is_not_known():
    assert statuses({"hard": 0.8, "random": 0.7}, {"random": 0.7}) == {"hard": "not checked", "random": "converged"}
    floors = {"pixels": {"recall@1": 0.85}}
    assert statuses({"hard": 0.8}, {}, floors=floors) == {"hard": "below floor"}


def test_only_finished_runs_of_seeds_that_both_budgets_have_are_compared():
    before, after = runs({"hard": 0.8}, seeds=3), runs({"hard": 0.8}, seeds=2)
    before.append(run(strategy="hard", seed=9, recall=0.1, status="failed"))
    (found,) = cell_statuses(before, after).values()
    assert found.moved == pytest.approx(0.0005), "the means of two and three seeds differ by that"
    assert found.status == "converged"
    assert found.above_floor is None
    assert found.collapsed is None
    assert cell_statuses([run(status="failed")], []) == {}
