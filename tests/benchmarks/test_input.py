"""Run the input benchmark in a short form. Its bounds are well below a quiet machine's ratios: CI is busy."""

import pytest
import torch

from siamese_lab.data.tables.image_table import ImageTable
from tests.benchmarks.input import WAYS, rates

pytestmark = pytest.mark.benchmark

AT_LEAST = {"as they are": 50, "affine, bilinear": 15, "affine, nearest": 25}


@pytest.fixture(scope="module")
def table():
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return ImageTable(images_NCHW, torch.randint(0, 10, (60_000,), generator=generator), tuple("0123456789"))


def test_batches_are_many_times_faster_than_the_peers(table):
    """Compare one thread each, in processor time."""
    measured = rates(table, workers=0, threads=1, ours=100, usual=3, repeats=3)
    assert set(measured) == set(WAYS)
    for name, least in AT_LEAST.items():
        assert measured[name].ratio > least, f"{name}: {measured[name]}"
