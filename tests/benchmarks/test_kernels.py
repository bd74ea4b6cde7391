"""Run the benchmark of the fast choices in a short form: each must pay."""

import pytest
import torch

from tests.benchmarks.kernels import gains

pytestmark = pytest.mark.benchmark


def test_each_fast_choice_pays():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    taken = gains(512, repeats=7)
    torch.set_num_threads(before)
    assert min(taken.values()) > 1.5, taken
