"""Run the mining benchmark in a short form, with bounds that hold on every machine, even a busy one."""

import pytest
import torch

from tests.benchmarks.mining import FLOOR, measure, training

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def taken():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield measure(256, repeats=7)
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "times"), [("random", 3), ("batch_hard", 1.2), ("semi_hard", 6), ("distance_weighted", 8)]
)
def test_each_strategy_is_faster_than_its_peer(taken, name, times):
    assert taken["peer"][name] > times * taken["ours"][name]


@pytest.mark.parametrize("name", ["all", "all semi_hard=true"])
def test_every_triplet_is_learnt_from_faster(taken, name):
    assert taken["peer's step"][name] > 4 * taken["our step"][name]


def test_no_strategy_is_far_from_the_floor(taken):
    """At this size Python's own time dominates; an accidental B×B×B tensor would take hundreds of times the floor."""
    assert max(taken["ours"].values()) < 40 * taken["floor"][FLOOR]


def test_no_strategy_takes_much_of_a_training_step():
    taken = training(repeats=3)
    assert max(taken.selecting.values()) < 0.1 * taken.step
