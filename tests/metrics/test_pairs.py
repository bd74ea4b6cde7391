"""Sampled pairs are half positive and half negative, occur once, and are equally probable."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab.metrics import pairs
from siamese_lab.metrics.pairs import ImagePairs, distinct_integers, pair_distances, sampled_pairs


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def all_pairs(labels):
    """Return the positive and the negative pairs, as sets of sorted pairs of images."""
    every = [(i, j) for j in range(len(labels)) for i in range(j)]
    return [{pair for pair in every if (labels[pair[0]] == labels[pair[1]]) == same} for same in (True, False)]


def as_set(left_N, right_N):
    return {tuple(sorted(pair)) for pair in zip(left_N.tolist(), right_N.tolist(), strict=True)}


@settings(max_examples=100, deadline=None)
@given(labels=st.lists(st.integers(-3, 5), min_size=2, max_size=30), seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_pairs_have_the_right_kind_and_occur_once(labels, seed, share):
    same, different = all_pairs(labels)
    most = min(len(same), len(different))
    each = max(1, int(share * most))
    if not most:
        with pytest.raises(ValueError, match="images make 0"):
            sampled_pairs(torch.tensor(labels), 2, seed)
        return
    left_N, right_N, same_N = sampled_pairs(torch.tensor(labels), 2 * each, seed)
    for kind_N, allowed in ((same_N, same), (~same_N, different)):
        drawn = as_set(left_N[kind_N], right_N[kind_N])
        assert len(drawn) == int(kind_N.sum()) == each
        assert drawn <= allowed


def test_all_pairs_can_be_requested():
    labels = [3, 1, 3, 3, 1, 1, 9, 9]
    same, different = all_pairs(labels)
    left_N, right_N, same_N = sampled_pairs(torch.tensor(labels), 2 * len(same))
    assert as_set(left_N[same_N], right_N[same_N]) == same
    assert as_set(left_N[~same_N], right_N[~same_N]) < different


def test_pairs_are_equally_probable():
    """The χ² statistics over 15 and 30 pairs are below their 99.9% quantile."""
    labels = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    drawn = Counter()
    for seed in range(1500):
        left_N, right_N, _ = sampled_pairs(torch.tensor(labels), 8, seed)
        drawn.update(map(tuple, torch.stack([left_N, right_N], 1).sort(1).values.tolist()))
    for kind, most in zip(all_pairs(labels), (37.7, 75), strict=True):
        expected = 4 * 1500 / len(kind)
        assert set(drawn) >= kind
        assert sum((drawn[pair] - expected) ** 2 / expected for pair in kind) < most


def test_a_seed_decides_the_draw():
    labels_M = torch.arange(60) % 6
    one, again, other = (sampled_pairs(labels_M, 40, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.left_N, other.left_N)


def test_few_pairs_of_very_many_need_little_memory():
    """100,000 images of 10 classes make 5·10⁹ pairs, which are never listed."""
    labels_M = torch.arange(100_000) % 10
    left_N, right_N, same_N = sampled_pairs(labels_M, 20_000)
    assert torch.equal(labels_M[left_N] == labels_M[right_N], same_N)
    assert len(as_set(left_N, right_N)) == 20_000


@pytest.mark.parametrize(("number", "below"), [(0, 5), (1, 1), (5, 5), (4, 7), (3, 10**12), (100, 250)])
def test_distinct_integers(number, below):
    drawn = distinct_integers(number, below, generator())
    assert len(drawn) == len(set(drawn.tolist())) == number
    assert all(0 <= each < below for each in drawn.tolist())


@pytest.mark.parametrize("cells", [1, 40, 2**20])
def test_distances_do_not_depend_on_the_chunk_size(cells, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK_CELLS", cells)
    z_MD = F.normalize(torch.randn(20, 8, generator=generator()), dim=1)
    some = sampled_pairs(torch.arange(20) % 4, 40)
    expected_N = (z_MD.double()[some.left_N] - z_MD.double()[some.right_N]).norm(dim=1)
    torch.testing.assert_close(pair_distances(z_MD, some).double(), expected_N, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("labels", "number", "message"),
    [
        ([0, 0, 1, 1], 3, r"half of the sampled pairs|their number must be even, but is 3\."),
        ([0, 0, 1, 1], 0, r"must be even, but is 0\."),
        ([0, 0, 1, 1], 6, r"3 pairs of one class were asked for, but these 4 images make 2\."),
        ([0, 0, 0, 1], 8, r"4 pairs of one class were asked for, but these 4 images make 3\."),
        ([0, 1, 2, 3], 2, r"1 pairs of one class were asked for, but these 4 images make 0\."),
        ([5, 5, 5], 2, r"1 pairs of two classes were asked for, but these 3 images make 0\."),
        ([], 2, r"1 pairs of one class were asked for, but these 0 images make 0\."),
    ],
)
def test_more_pairs_than_exist_are_refused(labels, number, message):
    with pytest.raises(ValueError, match=message):
        sampled_pairs(torch.tensor(labels, dtype=torch.int64), number)


def test_missing_rows_and_non_finite_embeddings_are_refused():
    pair = ImagePairs(torch.tensor([0]), torch.tensor([4]), torch.tensor([True]))
    with pytest.raises(ValueError, match=r"expect embeddings \(5 or more, D\), but got \(4, 3\)\."):
        pair_distances(torch.ones(4, 3), pair)
    z_MD = torch.ones(6, 3)
    z_MD[2:4] = torch.nan
    message = r"2 of 6 embeddings are not finite, the first of them that of image 2\. The network has diverged"
    with pytest.raises(ValueError, match=message):
        pair_distances(z_MD, pair)
