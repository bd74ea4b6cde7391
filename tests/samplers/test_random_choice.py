"""Strategies with a random choice draw only what the loops allow, with the probabilities of the loops."""

import math
from collections import Counter

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
from scipy.stats import chisquare

from siamese_lab import samplers

POSITIVES = 20
UNLIKELY = 1e-4
"""A fair sampler gives a smaller p-value once in ten thousand seeds. The seeds are fixed."""


def draws_of_image_0(sampler, z_BD, labels_B, calls=60):
    """Count how often each negative is chosen for image 0."""
    counts = Counter()
    for _ in range(calls):
        choice = chosen(sampler(z_BD, labels_B))
        counts.update(negative for pair, negative in choice.items() if pair.anchor == 0)
    return counts


def assert_frequencies(counts, probabilities):
    assert set(counts) <= set(probabilities)
    expected = [share * counts.total() for share in probabilities.values()]
    assert min(expected) > 5, "too few draws to test"
    observed = [counts[n] for n in probabilities]
    assert chisquare(observed, expected).pvalue > UNLIKELY


def draws_of_all(sampler, z_BD, labels_B, calls):
    """Return all negatives that are ever chosen for each pair."""
    reached = {}
    for _ in range(calls):
        for pair, negative in chosen(sampler(z_BD, labels_B)).items():
            reached.setdefault(pair, set()).add(negative)
    return reached


def test_random_reaches_every_negative_of_every_pair_and_nothing_else():
    labels_B = pk_labels(4, 2, seed=0)
    z_BD = random_embeddings(8, 4, seed=0)
    oracle = Oracle(z_BD, labels_B)
    reached = draws_of_all(samplers.build("random"), z_BD, labels_B, calls=150)
    assert reached == {pair: set(oracle.negatives(pair.anchor)) for pair in oracle.pairs()}


def test_random_does_not_depend_on_distances():
    z_BD, labels_B = star(1.0, [0.1, 0.5, 1.0, 1.4, 1.9], POSITIVES, dimensions=8)
    negatives = Oracle(z_BD, labels_B).negatives(0)
    counts = draws_of_image_0(samplers.build("random", seed=1), z_BD, labels_B)
    assert_frequencies(counts, {n: 1 / len(negatives) for n in negatives})


@pytest.mark.parametrize(("distance", "margin"), [("plain", 0.2), ("squared", 0.4)])
def test_semi_hard_uniform_reaches_the_whole_window_and_nothing_else(distance, margin):
    labels_B = pk_labels(4, 3, seed=1)
    z_BD = clustered_embeddings(labels_B, 8, 2.0, seed=1)
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build("semi_hard", margin=margin, distance=distance)
    expected = {pair: set(oracle.semi_hard_eligible(pair, margin, distance)) for pair in oracle.pairs()}
    assert {1, 3} <= {len(eligible) for eligible in expected.values()}, "the batch should offer both few and many"
    assert draws_of_all(sampler, z_BD, labels_B, calls=150) == expected


def test_semi_hard_is_uniform_inside_the_window():
    z_BD, labels_B = star(1.0, [0.9, 1.02, 1.06, 1.1, 1.18, 1.25], POSITIVES, dimensions=16)
    oracle = Oracle(z_BD, labels_B)
    window = oracle.window(next(iter(oracle.pairs())), 0.2, "plain")
    assert len(window) == 4
    counts = draws_of_image_0(samplers.build("semi_hard", seed=2), z_BD, labels_B)
    assert_frequencies(counts, {n: 1 / len(window) for n in window})


@pytest.mark.parametrize(
    ("dimensions", "d_an", "options"),
    [
        (16, [0.9, 1.0, 1.1, 1.2, 1.35, 1.45, 1.8], {}),
        (16, [0.1, 0.3, 0.5, 0.55, 0.6, 1.5], {}),  # clipped below at 0.5
        (16, [0.1, 0.3, 0.5, 0.55, 0.6, 1.5], {"nearest": 0.56}),
        (16, [1.1, 1.2, 1.3, 1.45, 1.6, 1.7], {"cutoff": 1.65}),
        (16, [0.7, 0.9, 1.0, 1.1, 1.2], {"weight_limit": 8.0}),
        (2, [0.5, 0.9, 1.3, 1.39], {}),  # in two dimensions, nearer negatives are not more likely
        (512, [1.300, 1.306, 1.312, 1.318, 1.324, 1.41, 1.45], {}),
        (512, [0.2, 0.5, 0.501, 0.502, 1.45], {}),
        (512, [1.300, 1.306, 1.312, 1.318, 1.324], {"weight_limit": math.exp(5.0)}),
    ],
)
def test_distance_weighted_draws_with_its_weights(dimensions, d_an, options):
    z_BD, labels_B = star(1.0, d_an, POSITIVES, max(dimensions, len(d_an) + 2))
    if dimensions == 2:
        z_BD = onto_the_plane(z_BD)
    oracle = Oracle(z_BD, labels_B)
    probabilities = oracle.distance_weighted(0, **options)
    if options:
        assert probabilities != pytest.approx(oracle.distance_weighted(0), rel=0.05), "the option should matter"
    assert max(probabilities.values()) > 1.1 * min(probabilities.values()), "the weights should differ"
    counts = draws_of_image_0(samplers.build("distance_weighted", seed=3, **options), z_BD, labels_B)
    assert_frequencies(counts, probabilities)


def onto_the_plane(z_BD):
    """Map the images to two dimensions, where they keep their distance from image 0."""
    cos_B = z_BD[:, 0]
    return torch.stack([cos_B, (1 - cos_B.square()).sqrt()], 1)


def test_heavy_weights_elsewhere_in_the_batch_do_not_starve_an_anchor():
    """At D = 512 the weights of two close images exceed those at 1.3 by e^300. A global maximum would underflow."""
    d_an = [1.300, 1.306, 1.312]
    z_BD, labels_B = star(1.0, d_an, POSITIVES, 512)
    close_2D = torch.zeros(2, 512)
    close_2D[0, 400], close_2D[1, 400], close_2D[1, 401] = 1.0, 0.875, math.sqrt(1 - 0.875**2)
    z_BD, labels_B = torch.cat([z_BD, close_2D]), torch.cat([labels_B, torch.tensor([100, 101])])
    oracle = Oracle(z_BD, labels_B)
    assert oracle.d[-1][-2] == pytest.approx(0.5)
    sampler = samplers.build("distance_weighted", seed=4)
    counts = draws_of_image_0(sampler, z_BD, labels_B)
    assert_frequencies(counts, oracle.distance_weighted(0))


@pytest.mark.parametrize("dimensions", [16, 512])
def test_distance_weighted_falls_back_to_uniform_and_counts_it(dimensions):
    z_BD, labels_B = star(1.0, [1.41, 1.5, 1.7, 1.9], POSITIVES, dimensions)
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build("distance_weighted", seed=5)
    counts = draws_of_image_0(sampler, z_BD, labels_B)
    negatives = oracle.negatives(0)
    assert_frequencies(counts, {n: 1 / len(negatives) for n in negatives})
    starved = [not oracle.near(pair.anchor) for pair in oracle.pairs()]
    share = statistics_of(sampler.mine(z_BD, labels_B))["fallback_share"]
    assert share.item() == pytest.approx(sum(starved) / len(starved))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dimensions", [4, 128, 512])
def test_distance_weighted_chooses_only_negatives_below_the_cutoff(dimensions, seed):
    labels_B = pk_labels(5, 4, seed)
    z_BD = random_embeddings(20, dimensions, seed)
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build("distance_weighted", seed=seed)
    selection = sampler.mine(z_BD, labels_B)
    for pair, negative in chosen(selection.triplets).items():
        assert negative in (oracle.near(pair.anchor) or oracle.negatives(pair.anchor))
    starved = [not oracle.near(pair.anchor) for pair in oracle.pairs()]
    assert statistics_of(selection)["fallback_share"].item() == pytest.approx(sum(starved) / len(starved))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_multi_similarity_takes_informative_pairs_alone_and_reaches_all_of_them(spread, seed):
    labels_B = pk_labels(5, 4, seed)
    z_BD = clustered_embeddings(labels_B, 8, spread, seed)
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build("multi_similarity", seed=seed)
    reached = {}
    for _ in range(150):
        for anchor, positive, (negative,) in rows(sampler(z_BD, labels_B)):
            positives, negatives = reached.setdefault(anchor, (set(), set()))
            positives.add(positive)
            negatives.add(negative)
    assert reached == {anchor: oracle.multi_similarity(anchor, 0.1) for anchor in range(20)}


@pytest.mark.parametrize(
    ("name", "options", "d_an"),
    [
        ("random", {}, [0.1, 0.5, 1.0, 1.4, 1.9]),
        ("semi_hard", {}, [1.02, 1.06, 1.1, 1.18]),
        ("distance_weighted", {}, [0.9, 1.0, 1.1, 1.2, 1.35]),
    ],
)
def test_several_draws_are_without_replacement_and_start_with_the_single_draw(name, options, d_an):
    z_BD, labels_B = star(1.0, d_an, POSITIVES, dimensions=16)
    oracle = Oracle(z_BD, labels_B)
    probabilities = {
        "distance_weighted": oracle.distance_weighted(0),
    }.get(name, {n: 1 / len(d_an) for n in oracle.negatives(0)})
    sampler = samplers.build(name, num_negatives=3, seed=6, **options)
    first, pairs = Counter(), Counter()
    for _ in range(60):
        for anchor, _, (one, two, three) in rows(sampler(z_BD, labels_B)):
            if anchor == 0:
                first[one] += 1
                pairs[one, two] += 1
                assert len({one, two, three}) == 3
    assert_frequencies(first, probabilities)
    one, two = pairs.most_common(1)[0][0]
    rest = {n: share for n, share in probabilities.items() if n != one}
    assert_frequencies(
        Counter({n: pairs[one, n] for n in rest}), {n: share / sum(rest.values()) for n, share in rest.items()}
    )
