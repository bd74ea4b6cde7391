"""Strategies with the same definition in pytorch-metric-learning select the same; tests explain the differences."""

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import BatchEasyHardMiner, BatchHardMiner, DistanceWeightedMiner, TripletMarginMiner
from sampler_oracles import clustered_embeddings, pk_labels, random_embeddings, rows

from siamese_lab import samplers

MARGIN = 0.2


def batch(seed, dimensions=32):
    labels_B = pk_labels(8, 4, seed)
    return clustered_embeddings(labels_B, dimensions, 2.0, seed), labels_B


def listed(mined):
    return sorted(zip(*(index_T.tolist() for index_T in mined), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_batch_hard_equals_the_peers(seed):
    z_BD, labels_B = batch(seed)
    ours = rows(samplers.build("batch_hard")(z_BD, labels_B))
    theirs = BatchHardMiner(distance=LpDistance())(z_BD, labels_B)
    assert [(a, p, n) for a, p, (n,) in ours] == listed(theirs)


@pytest.mark.parametrize("seed", range(5))
def test_easy_positives_equal_the_peers(seed):
    z_BD, labels_B = batch(seed)
    ours = rows(samplers.build("easy_positive")(z_BD, labels_B))
    miner = BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard", distance=LpDistance())
    anchor_T, positive_T, _, negative_T = miner(z_BD, labels_B)
    theirs = {a: (p, n) for a, p, n in zip(*(i.tolist() for i in (anchor_T, positive_T, negative_T)), strict=True)}
    assert len(theirs) > 10
    assert {a: (p, n) for a, p, (n,) in ours if a in theirs} == theirs


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_semi_hard_choices_reach_exactly_the_triplets_of_the_peer(seed):
    z_BD, labels_B = batch(seed)
    theirs = set(listed(TripletMarginMiner(MARGIN, "semihard", distance=LpDistance())(z_BD, labels_B)))
    sampler = samplers.build("semi_hard", margin=MARGIN)
    reached = set()
    for _ in range(500):
        reached |= {(a, p, n) for a, p, (n,) in rows(sampler(z_BD, labels_B))}
    with_one = {(a, p) for a, p, _ in theirs}
    assert {(a, p, n) for a, p, n in reached if (a, p) in with_one} == theirs
    assert len(with_one) > 50


@pytest.mark.parametrize("dimensions", [256, 512])
def test_every_anchor_keeps_a_negative_although_the_peer_loses_most(dimensions):
    """A single close negative pair is enough: the peer's weights are relative to the largest weight of the batch."""
    labels_B = pk_labels(16, 4, seed=0)
    z_BD = random_embeddings(64, dimensions, seed=0)
    near_BD = z_BD.clone()
    other = int((labels_B != labels_B[0]).nonzero()[0])
    near_BD[other] = torch.nn.functional.normalize(z_BD[0] + 0.5 * z_BD[other], dim=0)
    torch.manual_seed(0)
    theirs = DistanceWeightedMiner(cutoff=0.5, nonzero_loss_cutoff=1.4)(near_BD, labels_B)
    kept = set(theirs[0].tolist())
    assert len(kept) < 20
    sampler = samplers.build("distance_weighted")
    triplets = sampler(near_BD, labels_B)
    eligible = (torch.cdist(near_BD, near_BD) < 1.4) & (labels_B[:, None] != labels_B)
    assert eligible.any(1).float().mean() > 0.9, "nearly all anchors have a negative near enough"
    assert set(triplets.anchor_T.tolist()) == set(range(64))
    assert eligible[triplets.anchor_T, triplets.negative_TM[:, 0]].float().mean() == eligible.any(1).float().mean()
