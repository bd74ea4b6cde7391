"""Run the retrieval benchmark in a short form, with bounds that hold on a busy machine."""

import pytest
import torch

from tests.benchmarks.retrieval import Case, extra_memory, measure, ours


@pytest.fixture(autouse=True)
def _restore_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.benchmark
@pytest.mark.parametrize("structure", [0.0, 0.6])
def test_few_images_of_a_class_take_no_longer_than_the_peer(structure):
    taken = measure(Case(150, 20, structure), repeats=5, memory=False)
    assert taken["ours"].seconds < 1.2 * taken["peer"].seconds


@pytest.mark.benchmark
@pytest.mark.parametrize("structure", [0.0, 0.4])
def test_many_images_of_a_class_take_less(structure):
    taken = measure(Case(10, 300, structure), repeats=5, memory=False)
    assert taken["peer"].seconds > 1.5 * taken["ours"].seconds


@pytest.mark.slow
@pytest.mark.nightly
def test_the_memory_is_that_of_tiles():
    """The full matrix of similarities of 13,180 images would take 695 MB."""
    assert extra_memory(Case(659, 20, 0.6), ours) < 50


@pytest.mark.slow
@pytest.mark.nightly
def test_classes_of_thousands_take_little_more():
    """The full matrix of similarities of these 1,500 queries would take 351 MB."""
    assert extra_memory(Case(10, 6000, 0.4, queries=1500), ours) < 150
