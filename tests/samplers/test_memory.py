"""The memory applies any strategy to the batch and to remembered embeddings, and checkpoints keep it."""

import pytest
import torch
from sampler_oracles import Oracle, clustered_embeddings, pk_labels, random_embeddings, rows

from siamese_lab import losses, samplers

SIZE = 20


def batch(seed, classes=5, images_per_class=3):
    labels_B = pk_labels(classes, images_per_class, seed)
    return clustered_embeddings(labels_B, 8, 2.0, seed), labels_B


def last(batches, size=SIZE):
    """Return the newest embeddings and labels of these batches, in the order of a ring of that size."""
    z_ND, labels_N = (torch.cat(each) for each in zip(*batches, strict=True))
    ring = {}
    for n in range(len(z_ND)):
        ring[n % size] = n
    order = [ring[place] for place in sorted(ring)]
    return z_ND[order], labels_N[order]


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize(
    ("options", "choose"),
    [
        ({"strategy": "hard"}, Oracle.hard),
        (
            {"strategy": "semi_hard", "options": {"choice": "nearest"}},
            lambda o, pair: o.semi_hard_nearest(pair, 0.2, "plain"),
        ),
    ],
)
def test_negatives_from_batch_and_memory_agree_with_the_loops(options, choose, steps):
    sampler = samplers.build("memory", size=SIZE, **options)
    before = [batch(seed) for seed in range(steps)]
    for each in before:
        sampler(*each)
    z_BD, labels_B = batch(steps)
    triplets, candidates_CD, *_ = sampler.mine(z_BD, labels_B)
    remembered = last(before) if before else (z_BD[:0], labels_B[:0])
    oracle = Oracle(torch.cat([z_BD, remembered[0]]), torch.cat([labels_B, remembered[1]]), batch=len(z_BD))
    assert rows(triplets) == [(*pair, (choose(oracle, pair),)) for pair in oracle.pairs()]
    if steps:
        assert (triplets.negative_TM >= len(z_BD)).any()
    assert candidates_CD.shape == (len(z_BD) + SIZE, 8)
    assert torch.equal(candidates_CD[: len(oracle.labels)], torch.cat([z_BD, remembered[0]]))


def test_random_reaches_all_negatives_of_batch_and_memory_and_no_empty_place():
    z_BD, labels_B = batch(1)
    before = batch(0)
    reached = {}
    for seed in range(150):
        sampler = samplers.build("memory", strategy="random", size=SIZE, seed=seed)
        sampler(*before)
        for anchor, _, (negative,) in rows(sampler(z_BD, labels_B)):
            reached.setdefault(anchor, set()).add(negative)
    oracle = Oracle(torch.cat([z_BD, before[0]]), torch.cat([labels_B, before[1]]), batch=15)
    assert reached == {anchor: set(oracle.negatives(anchor)) for anchor in range(15)}


@pytest.mark.parametrize("strategy", ["distance_weighted", "multi_similarity", "easy_positive", "batch_hard"])
@pytest.mark.parametrize("negatives", [1, 3])
def test_no_strategy_takes_an_image_of_the_anchors_class_from_the_memory(strategy, negatives):
    sampler = samplers.build("memory", strategy=strategy, size=SIZE, num_negatives=negatives)
    before = [batch(seed) for seed in range(3)]
    for each in before:
        sampler(*each)
    z_BD, labels_B = batch(3)
    labels_C = torch.cat([labels_B, last(before)[1]])
    triplets = sampler(z_BD, labels_B)
    assert (labels_C[triplets.negative_TM] != labels_B[triplets.anchor_T][:, None]).all()
    assert all(len(set(chosen)) == negatives for _, _, chosen in rows(triplets))


def test_a_batch_larger_than_the_memory_leaves_its_last_images():
    sampler = samplers.build("memory", strategy="hard", size=4)
    first, second = batch(0), batch(1)
    sampler(*first)
    assert torch.equal(sampler.mine(*second).candidates_CD[15:], first[0][-4:])


def test_a_checkpoint_keeps_the_memory(tmp_path):
    sampler = samplers.build("memory", size=SIZE)
    for seed in range(3):
        sampler(*batch(seed))
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    expected = [rows(sampler(*batch(seed))) for seed in (3, 4)]
    resumed = samplers.build("memory", size=SIZE, seed=9)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [rows(resumed(*batch(seed))) for seed in (3, 4)] == expected


def test_no_gradient_flows_into_the_memory_and_it_flows_into_the_batch():
    sampler = samplers.build("memory", strategy="hard", size=SIZE)
    sampler(*batch(0))
    z_BD, labels_B = batch(1)
    z_BD.requires_grad_()
    selection = sampler.mine(z_BD, labels_B)
    assert (selection.triplets.negative_TM >= len(z_BD)).any()
    losses.build("triplet", margin=2.0)(selection, z_BD).value.backward()
    assert z_BD.grad.isfinite().all()
    assert z_BD.grad.abs().sum() > 0
    assert not selection.candidates_CD.requires_grad
    assert not any(buffer.requires_grad for buffer in sampler.buffers())


def test_embeddings_of_another_size_are_refused():
    sampler = samplers.build("memory")
    sampler(*batch(0))
    with pytest.raises(ValueError, match=r"The memory holds embeddings of 8 dimensions, but got 5\."):
        sampler(random_embeddings(4, 5, 0), torch.tensor([0, 0, 1, 1]))
