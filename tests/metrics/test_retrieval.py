"""Recall@K agrees with the loops and with pytorch-metric-learning, and ties count against the model."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from siamese_lab.metrics import retrieval
from siamese_lab.metrics.retrieval import RecallAtK, recall_at_k

KS = (1, 2, 4, 8)


def oracle(points, labels, ks=KS):
    """Queries whose nearest image of their class has fewer than K images of other classes at least as near."""
    ranks = []
    for i, (query, label) in enumerate(zip(points, labels, strict=True)):
        d = {j: math.dist(query, other) for j, other in enumerate(points) if j != i}
        own = [d[j] for j in d if labels[j] == label]
        if own:
            ranks.append(sum(d[j] <= min(own) for j in d if labels[j] != label))
    return {k: sum(rank < k for rank in ranks) / len(ranks) for k in ks}


def embeddings(count, dimensions=8, seed=0):
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def random_labels(count, classes, seed=0):
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def shares(recall):
    return {k: share.item() for k, share in recall.items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 10, 40])
def test_agrees_with_the_loops(classes, seed):
    """With 40 classes many are of one image: distractors that never query."""
    z_ND, labels_N = embeddings(50, seed=seed), random_labels(50, classes, seed)
    assert shares(recall_at_k(z_ND, labels_N, KS)) == pytest.approx(oracle(z_ND.tolist(), labels_N.tolist()))


@st.composite
def on_the_axes(draw):
    """Embeddings on ± the axes, whose similarities of −1, 0, 1 are exact, so that ties are many and certain."""
    count = draw(st.integers(2, 14))
    places = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(-1, 3), min_size=count, max_size=count).filter(lambda x: len({*x}) < len(x)))
    z_ND = torch.tensor([[(-1.0) ** place * (place // 2 == axis) for axis in range(3)] for place in places])
    return z_ND, torch.tensor(labels)


@settings(max_examples=150, deadline=None)
@given(case=on_the_axes())
def test_ties_count_as_the_loops_say(case):
    z_ND, labels_N = case
    expected = oracle(z_ND.tolist(), labels_N.tolist())
    assert shares(recall_at_k(z_ND, labels_N, KS)) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(4, 40), classes=st.integers(1, 3))
def test_more_neighbours_never_hurt_and_the_order_is_immaterial(seed, count, classes):
    z_ND, labels_N = embeddings(count, seed=seed), random_labels(count, classes, seed)
    recall = shares(recall_at_k(z_ND, labels_N, (1, 2, 4, count)))
    assert list(recall.values()) == sorted(recall.values())
    assert recall[count] == 1
    order_N = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert shares(recall_at_k(z_ND[order_N], labels_N[order_N], (1, 2, 4, count))) == recall


@pytest.mark.parametrize("cells", [1, 50, 7 * 50, 49 * 50, 2**24])
def test_tiles_of_any_size_give_the_same(cells, monkeypatch):
    z_ND, labels_N = embeddings(50), random_labels(50, 10)
    whole = shares(recall_at_k(z_ND, labels_N))
    monkeypatch.setattr(retrieval, "TILE_CELLS", cells)
    assert shares(recall_at_k(z_ND, labels_N)) == whole


@pytest.mark.parametrize("dimensions", [2, 64, 256, 512])
@pytest.mark.parametrize("count", [5, 9, 60, 257])
def test_a_collapsed_network_gets_0(count, dimensions):
    """Though rounding can give equal embeddings similarities that differ in the last bit."""
    labels_N = torch.arange(count) % (count // 2)
    for seed in range(10):
        z_ND = embeddings(1, dimensions, seed).repeat(count, 1)
        assert shares(recall_at_k(z_ND, labels_N, (1, 2))) == {1: 0.0, 2: 0.0}


def test_the_query_is_removed_by_index_and_its_duplicate_counts():
    """Of two equal images each finds the other; an equal image of another class is a tie, and counts against."""
    z_ND = torch.eye(4)[[0, 0, 1, 1, 2]]
    assert shares(recall_at_k(z_ND, torch.tensor([0, 0, 1, 1, 2]), (1,))) == {1: 1.0}
    assert shares(recall_at_k(z_ND, torch.tensor([0, 1, 0, 1, 2]), (1, 2))) == {1: 0.0, 2: 0.0}


def test_an_image_alone_in_its_class_is_a_distractor():
    z_ND = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, 0.2]]), dim=1)
    assert shares(recall_at_k(z_ND, torch.tensor([0, 0, 5]), (1, 2))) == {1: 0.0, 2: 1.0}


def test_half_precision_is_raised_to_float32():
    z_ND, labels_N = embeddings(40).half(), random_labels(40, 8)
    assert shares(recall_at_k(z_ND, labels_N)) == shares(recall_at_k(z_ND.float(), labels_N))


def test_nan_counts_against_the_model_and_no_query_vanishes():
    """Neither image of a class can be found once one of them is NaN; with all of them NaN nothing can."""
    z_ND, labels_N = torch.eye(3).repeat_interleave(2, 0), torch.arange(3).repeat_interleave(2)
    assert shares(recall_at_k(z_ND, labels_N, (1,))) == {1: 1.0}
    z_ND[0] = math.nan
    assert shares(recall_at_k(z_ND, labels_N, (1,)))[1] <= 4 / 6 + 1e-6
    assert shares(recall_at_k(torch.full((6, 3), math.nan), labels_N, (1,))) == {1: 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_pytorch_metric_learning(seed):
    z_ND, labels_N = embeddings(120, 16, seed), torch.arange(120) % 12
    theirs = AccuracyCalculator(include=("precision_at_1",), k=1, device=torch.device("cpu"))
    expected = theirs.get_accuracy(z_ND, labels_N)["precision_at_1"]
    assert 0 < expected < 1
    assert recall_at_k(z_ND, labels_N, (1,))[1].item() == pytest.approx(expected)


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_the_metric_in_chunks_equals_the_function(chunk):
    z_ND, labels_N = embeddings(50), random_labels(50, 10)
    metric = RecallAtK(k=(1, 4))
    metric.update(embeddings(3, seed=9), torch.zeros(3, dtype=torch.int64))
    metric.reset()
    for z_BD, labels_B in zip(z_ND.split(chunk), labels_N.split(chunk), strict=True):
        metric.update(z_BD, labels_B)
    expected = shares(recall_at_k(z_ND, labels_N, (1, 4)))
    assert shares(metric.compute()) == {"recall@1": expected[1], "recall@4": expected[4]}


@pytest.mark.parametrize(
    ("z_shape", "labels_shape", "k", "message"),
    [
        ((4, 2), (3,), (1,), r"expects embeddings \(N, D\) and labels \(N,\), but got \(4, 2\) and \(3,\)\."),
        ((4,), (4,), (1,), r"expects embeddings \(N, D\) and labels \(N,\), but got \(4,\) and \(4,\)\."),
        ((4, 2), (4,), (1, 0), r"Every K of Recall@K must be at least 1, but they are \(1, 0\)\."),
    ],
)
def test_what_does_not_fit_is_refused(z_shape, labels_shape, k, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(torch.ones(z_shape), torch.ones(labels_shape, dtype=torch.int64), k)


def test_a_set_without_any_query_is_refused():
    with pytest.raises(ValueError, match=r"needs a class with at least 2 images, but all 4 have one\."):
        recall_at_k(embeddings(4), torch.arange(4))
