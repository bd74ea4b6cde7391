"""Embedding health agrees with its definitions over all pairs, and with known results."""

import math
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab import distances
from siamese_lab.metrics.health import alignment, effective_rank, health


def unit(count, dimensions=16, seed=0):
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.integers(-2, 4), min_size=2, max_size=20).filter(lambda labels: len(set(labels)) < len(labels)),
    seed=st.integers(0, 10**6),
)
def test_agrees_with_the_loops(labels, seed):
    z_ND = unit(len(labels), 5, seed)
    points = z_ND.double().tolist()
    d = {(i, j): math.dist(points[i], points[j]) for i, j in combinations(range(len(labels)), 2)}
    found = health(z_ND, torch.tensor(labels))
    assert found.mean_distance == pytest.approx(mean(d.values()), abs=1e-6)
    assert found.uniformity == pytest.approx(math.log(mean(math.exp(-2 * each**2) for each in d.values())), abs=1e-5)
    assert found.alignment == pytest.approx(mean(d[i, j] ** 2 for i, j in d if labels[i] == labels[j]), abs=1e-5)
    singular_D = torch.linalg.svdvals(z_ND.double())
    shares = [each for each in (singular_D / singular_D.sum()).tolist() if each > 0]
    assert found.effective_rank == pytest.approx(math.exp(-sum(share * math.log(share) for share in shares)), rel=1e-5)


@pytest.mark.parametrize("entries", [1, 50, 7 * 50, 2**19])
def test_tiles_of_any_size_give_the_same(entries, monkeypatch):
    z_ND, labels_N = unit(50), torch.arange(50) % 7
    whole = health(z_ND, labels_N)
    monkeypatch.setitem(distances.TILE_ENTRIES, "cpu", entries)
    assert health(z_ND, labels_N) == pytest.approx(whole)


def test_equal_embeddings_have_collapsed():
    """Equal embeddings have rank 1, although rounding moves their similarities away from 1."""
    for seed in range(5):
        found = health(unit(1, 128, seed).repeat(40, 1), torch.arange(40) % 4)
        assert found.collapsed
        assert found.mean_distance == pytest.approx(0, abs=1e-3)
        assert found[1:4] == pytest.approx((1, 0, 0), abs=1e-5)


def test_embeddings_on_the_axes_use_every_dimension():
    found = health(torch.eye(8).repeat(2, 1), torch.arange(16) % 8)
    assert not found.collapsed
    assert found.effective_rank == pytest.approx(8)
    assert found.alignment == 0
    assert found.mean_distance == pytest.approx(math.sqrt(2) * 14 / 15)


def test_two_opposite_points_are_of_rank_1_which_counts_as_collapsed():
    """Two opposite points are the best embedding of two classes, but of no more."""
    found = health(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(5, 1), torch.arange(10) % 2)
    assert found.collapsed
    assert (found.effective_rank, found.alignment) == pytest.approx((1, 0))
    assert found.mean_distance == pytest.approx(2 * 5 / 9)


def test_random_directions_have_the_uniformity_of_theory():
    """In 64 dimensions, mean d² = 2 and E exp(−2 d²) = e⁻⁴ · E e^{4 s}, with s of variance 1/64 and nearly normal."""
    found = health(unit(3000, 64), torch.arange(3000) % 30)
    assert found.alignment == pytest.approx(2, abs=0.01)
    assert found.uniformity == pytest.approx(-4 + 8 / 64, abs=0.01)
    assert found.effective_rank == pytest.approx(64, rel=0.01)
    assert not found.collapsed


def test_alignment_needs_a_pair_of_one_class():
    with pytest.raises(ValueError, match=r"Alignment needs a class with at least 2 images, but all 5 have one\."):
        health(unit(5), torch.arange(5))


def test_embeddings_that_are_not_finite_are_refused():
    z_ND = unit(5)
    z_ND[4] = torch.nan
    with pytest.raises(ValueError, match=r"1 of 5 embeddings are not finite, the first of them that of image 4\."):
        health(z_ND, torch.zeros(5, dtype=torch.int64))


def test_half_precision_and_many_equal_images_are_accepted():
    z_ND = unit(6).repeat_interleave(50, 0)
    labels_N = torch.arange(6).repeat_interleave(50)
    assert alignment(z_ND.bfloat16(), labels_N) == pytest.approx(0, abs=1e-9)
    assert effective_rank(z_ND.bfloat16()) == pytest.approx(effective_rank(z_ND), rel=1e-2)
