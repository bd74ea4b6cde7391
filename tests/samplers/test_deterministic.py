"""Strategies without a random choice agree with the loops, index by index."""

import pytest
import torch
from sampler_oracles import (
    Oracle,
    chosen,
    clustered_embeddings,
    pk_labels,
    random_embeddings,
    rows,
    star,
    statistics_of,
)

from siamese_lab import samplers

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dimensions", [3, 128])
def test_hard_takes_the_nearest_negative(dimensions, seed):
    labels_B = pk_labels(6, 4, seed)
    z_BD = clustered_embeddings(labels_B, dimensions, 1.0, seed)
    oracle = Oracle(z_BD, labels_B)
    assert chosen(samplers.build("hard")(z_BD, labels_B)) == {pair: oracle.hard(pair) for pair in oracle.pairs()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("distance", "margin"), [("plain", 0.05), ("plain", 0.2), ("squared", 0.2), ("squared", 1.0)])
def test_semi_hard_nearest_takes_the_nearest_of_the_window_or_falls_back(distance, margin, spread, seed):
    labels_B = pk_labels(5, 4, seed)
    z_BD = clustered_embeddings(labels_B, 16, spread, seed)
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build("semi_hard", choice="nearest", margin=margin, distance=distance)
    expected = {pair: oracle.semi_hard_nearest(pair, margin, distance) for pair in oracle.pairs()}
    selection = sampler.mine(z_BD, labels_B)
    assert chosen(selection.triplets) == expected

    fallbacks = sum(not oracle.window(pair, margin, distance) for pair in oracle.pairs())
    assert statistics_of(selection)["fallback_share"].item() == pytest.approx(fallbacks / len(oracle.pairs()))


@pytest.mark.parametrize("choice", ["uniform", "nearest"])
@pytest.mark.parametrize(
    ("d_an", "expected"),
    [
        ([0.3, 1.3, 1.2, 1.7], 1.2),  # empty window: the nearest beyond the positive
        ([0.3, 0.8, 0.5, 0.7], 0.8),  # none beyond the positive: the farthest
        ([1.05, 1.3, 0.9, 1.5], 1.05),  # only one in the window
    ],
)
def test_semi_hard_fallbacks(choice, d_an, expected):
    z_BD, labels_B = star(1.0, d_an, positives=2, dimensions=8)
    choice_of = chosen(samplers.build("semi_hard", choice=choice)(z_BD, labels_B))
    negatives = {negative for pair, negative in choice_of.items() if pair.anchor == 0}
    assert negatives == {3 + d_an.index(expected)}


def test_the_window_depends_on_the_distance():
    """With d_ap = 0.5 and d_an = 0.6, the plain gap is 0.1 and the squared gap is 0.11."""
    z_BD, labels_B = star(0.5, [0.6, 1.3], positives=1, dimensions=4)
    fallbacks = {}
    for distance in ("plain", "squared"):
        sampler = samplers.build("semi_hard", margin=0.105, distance=distance, choice="nearest")
        selection = sampler.mine(z_BD, labels_B)
        oracle = Oracle(z_BD, labels_B)
        empty = [not oracle.window(pair, 0.105, distance) for pair in oracle.pairs()]
        fallbacks[distance] = statistics_of(selection)["fallback_share"].item()
        assert fallbacks[distance] == pytest.approx(sum(empty) / len(empty))
    assert fallbacks["plain"] < fallbacks["squared"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sizes", [[4] * 6, [1, 2, 3, 5, 2]])
@pytest.mark.parametrize("name", ["batch_hard", "easy_positive"])
def test_positives_agree_with_the_loops(name, sizes, seed):
    labels_B = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels_B = labels_B[torch.randperm(len(labels_B), generator=torch.Generator().manual_seed(seed))]
    z_BD = clustered_embeddings(labels_B, 16, 2.0, seed)
    oracle = Oracle(z_BD, labels_B)
    expected = []
    for anchor in range(len(labels_B)):
        others = len(oracle.positives(anchor))
        times = min(others, 1) if name == "batch_hard" else others
        if others:
            positive, negative = getattr(oracle, name)(anchor)
            expected += [(anchor, positive, (negative,))] * times
    assert rows(samplers.build(name)(z_BD, labels_B)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_several_negatives_are_the_nearest_ones_in_order(seed):
    labels_B = pk_labels(5, 3, seed)
    z_BD = random_embeddings(15, 16, seed)
    oracle = Oracle(z_BD, labels_B)
    for anchor, _, negatives in rows(samplers.build("hard", num_negatives=4)(z_BD, labels_B)):
        assert list(negatives) == sorted(oracle.negatives(anchor), key=lambda n: oracle.d[anchor][n])[:4]


@pytest.mark.parametrize("seed", SEEDS)
def test_several_semi_hard_negatives_come_from_the_window_then_beyond_it_then_the_farthest(seed):
    labels_B = pk_labels(5, 3, seed)
    z_BD = clustered_embeddings(labels_B, 16, 2.0, seed)
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build("semi_hard", choice="nearest", num_negatives=6)
    for anchor, positive, negatives in rows(sampler(z_BD, labels_B)):
        d = oracle.d[anchor]
        ordered = sorted(oracle.negatives(anchor), key=lambda n: d[n])
        beyond = [n for n in ordered if d[n] > d[positive]]
        nearer = [n for n in reversed(ordered) if d[n] <= d[positive]]
        assert list(negatives) == (beyond + nearer)[:6]


@pytest.mark.parametrize(
    ("name", "options"), [("hard", {}), ("batch_hard", {}), ("easy_positive", {}), ("semi_hard", {"choice": "nearest"})]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_reordering_the_batch_reorders_the_choice(name, options, seed):
    labels_B = pk_labels(5, 3, seed)
    z_BD = random_embeddings(15, 8, seed)
    order_B = torch.randperm(15, generator=torch.Generator().manual_seed(seed))
    sampler = samplers.build(name, **options)
    as_it_was = rows(sampler(z_BD, labels_B))
    reordered = rows(sampler(z_BD[order_B], labels_B[order_B]))
    back = order_B.tolist()
    assert sorted((back[a], back[p], (back[n],)) for a, p, (n,) in reordered) == as_it_was
