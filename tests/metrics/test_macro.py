"""Figures of each class and their means over classes agree with plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab.metrics import RetrievalMetrics, health
from siamese_lab.metrics.health import SAMPLED, Spread, spread
from siamese_lab.metrics.retrieval import by_class, macro_figures, retrieve


def batch(sizes, seed=0, dimensions=6):
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels_N = labels_N[torch.randperm(len(labels_N), generator=generator)]
    return F.normalize(torch.randn(len(labels_N), dimensions, generator=generator), dim=1), labels_N


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=6).filter(lambda sizes: max(sizes) > 1),
    seed=st.integers(0, 999),
)
def test_classes_and_macro_agree_with_the_loops(sizes, seed):
    z_ND, labels_N = batch(sizes, seed)
    found = retrieve(z_ND, labels_N, (1,))
    names = [f"class {label}" for label in range(len(sizes))]
    s_NN = (z_ND.double() @ z_ND.double().T).fill_diagonal_(-2)
    expected = {}
    for label, size in enumerate(sizes):
        rows = (labels_N == label).nonzero().squeeze(1).tolist()
        if size == 1:
            continue
        hits, averages = [], []
        for row in rows:
            order = s_NN[row].argsort(descending=True).tolist()[: size - 1]
            relevant = [int(labels_N[each]) == label for each in order]
            hits.append(bool(relevant[0]))
            averages.append(sum(sum(relevant[: i + 1]) / (i + 1) for i, hit in enumerate(relevant) if hit) / (size - 1))
        expected[names[label]] = (size, sum(hits) / size, sum(averages) / size)
    classes = by_class(found, labels_N, names)
    assert classes.keys() == expected.keys()
    for name, figures in expected.items():
        assert tuple(classes[name]) == pytest.approx(figures, abs=1e-6)
    macro = macro_figures(found, labels_N)
    for column, name in ((1, "recall@1_macro"), (2, "map@r_macro")):
        assert float(macro[name]) == pytest.approx(sum(each[column] for each in expected.values()) / len(expected))
    assert (
        macro_figures(retrieve(z_ND, labels_N, (2,)), labels_N).keys() == {"map@r_macro"} if len(labels_N) > 2 else True
    )


def test_the_metric_reports_macro_figures_and_finds_in_a_gallery():
    (z_ND, labels_N), (gallery_MD, gallery_labels_M) = batch([4, 2, 3]), batch([3, 3, 3], seed=1)
    metric = RetrievalMetrics(k=(1, 2))
    metric.update(z_ND, labels_N)
    assert all(map(torch.equal, metric.gathered(), (z_ND, labels_N)))
    figures = metric.compute()
    assert float(figures["recall@1_macro"]) == pytest.approx(
        sum(each.recall_at_1 for each in by_class(retrieve(z_ND, labels_N), labels_N, "abc").values()) / 3
    )
    found = metric.find(z_ND, labels_N, (gallery_MD, gallery_labels_M))
    assert torch.equal(found.query_Q, torch.arange(9)), "every image is a query if its class is in the gallery"
    nearest_N = gallery_labels_M[(z_ND @ gallery_MD.T).argmax(1)]
    expected = float((nearest_N == labels_N).float().mean())
    assert float(metric.figures_of(found, z_ND, labels_N)["recall@1"]) == pytest.approx(expected)


def test_spread_agrees_with_health_and_samples_large_sets():
    z_ND, labels_N = batch([20, 20, 20])
    whole = health.health(z_ND, labels_N)
    assert spread(z_ND) == pytest.approx((whole.mean_distance, whole.effective_rank))
    many_ND = F.normalize(torch.randn(3 * SAMPLED, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    assert spread(many_ND) == spread(many_ND[::3])


@pytest.mark.parametrize(
    ("found", "collapsed"),
    [
        (Spread(0.049, 9.0), True),
        (Spread(0.051, 9.0), False),
        (Spread(1.0, 1.9), True),
        (Spread(1.0, 2.1), False),
        (Spread(math.nan, math.nan), False),
    ],
)
def test_a_collapse_is_a_small_distance_or_a_small_rank(found, collapsed):
    assert found.collapsed == collapsed


def test_degenerate_embeddings_have_the_spread_of_their_geometry():
    one_place = F.normalize(torch.ones(10, 5), dim=1)
    assert spread(one_place).mean_distance == pytest.approx(0, abs=1e-3)
    assert spread(one_place).collapsed
    on_a_line = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).repeat(5, 1)
    assert spread(on_a_line).effective_rank == pytest.approx(1, abs=1e-3)
    assert spread(on_a_line).collapsed, "two opposite places are one direction"
    broken = torch.cat([torch.eye(3), torch.full((1, 3), math.nan)])
    assert spread(broken) == pytest.approx(spread(torch.eye(3)))
    assert math.isnan(spread(broken[2:]).mean_distance)
