"""Run the benchmark of the training loop in a short form, with a bound that holds on every machine, even a busy one."""

import pytest

from tests.benchmarks.training_loop import WARM_UP, added, measure

pytestmark = pytest.mark.benchmark


def test_a_run_adds_little_to_its_network():
    taken = measure("semi_hard", steps=WARM_UP + 11)
    assert 0 < taken.bare < taken.whole
    assert sum(added(taken)) < 0.3
