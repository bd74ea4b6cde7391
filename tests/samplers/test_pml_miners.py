"""Miners of pytorch-metric-learning select what they select without the lab, which says how many triplets these are."""

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning import miners as peers
from pytorch_metric_learning.losses import ContrastiveLoss

from siamese_lab import losses, pml, samplers
from siamese_lab.batch import Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.pairs import selected_distances
from siamese_lab.samplers.pml import LEFT_OUT
from siamese_lab.samplers.statistics import describe

NAMES = sorted(pml.classes("miners", tuple(LEFT_OUT)))
OF_PAIRS = ("BatchEasyHardMiner", "HDCMiner", "MultiSimilarityMiner", "PairMarginMiner", "UniformHistogramMiner")


def built(name, **options):
    return samplers.build(name, library="pml", **options)


def batch(classes=5, each=3, dimensions=6):
    labels_B = torch.arange(classes).repeat_interleave(each)
    x_BD = torch.randn(len(labels_B), dimensions, generator=torch.Generator().manual_seed(0))
    return F.normalize(x_BD, dim=1), labels_B


@pytest.mark.parametrize("name", NAMES)
def test_every_miner_of_the_package_selects_its_triplets(name):
    z_BD, labels_B = batch()
    selection = built(name, seed=3).mine(z_BD, labels_B)
    with pml.seeded(int(samplers.build("random", seed=3).noise.uniform((1,), z_BD.device).mul(2**23))):
        expected = getattr(peers, name)()(z_BD, labels_B)
    found = selection.pairs if name in OF_PAIRS else (*selection.triplets[:2], selection.triplets.negative_TM[:, 0])
    assert (selection.pairs is not None) == (name in OF_PAIRS)
    assert all(torch.equal(each, other) for each, other in zip(found, expected, strict=True))
    anchor_T, positive_T, negative_TM = selection.triplets
    assert (labels_B[anchor_T] == labels_B[positive_T]).all() and (anchor_T != positive_T).all()
    assert (labels_B[anchor_T] != labels_B[negative_TM[:, 0]]).all()
    assert float(selection.statistics["triplets_per_pair"]) == pytest.approx(len(anchor_T) / 30)


def test_the_triplets_of_a_miner_of_pairs_combine_the_pairs_of_each_anchor():
    z_BD, labels_B = batch()
    selection = built("PairMarginMiner", pos_margin=0.9, neg_margin=0.6).mine(z_BD, labels_B)
    pairs = [each.tolist() for each in selection.pairs]
    expected = sorted(
        (a, p, n) for a, p in zip(*pairs[:2], strict=True) for other, n in zip(*pairs[2:], strict=True) if a == other
    )
    found = torch.stack([*selection.triplets[:2], selection.triplets.negative_TM[:, 0]], 1).tolist()
    assert sorted(map(tuple, found)) == expected
    assert len(expected) > 0


def test_a_loss_of_the_package_gets_the_pairs_themselves():
    """Combined to triplets, a pair would count several times, and an anchor with one kind of pairs would be lost."""
    z_BD, labels_B = batch()
    selection = built("PairMarginMiner", pos_margin=0.9, neg_margin=0.6).mine(z_BD, labels_B)
    value = losses.build("ContrastiveLoss", library="pml")(selection, z_BD, labels_B).value
    expected = ContrastiveLoss()(z_BD, labels_B, peers.PairMarginMiner(0.9, 0.6)(z_BD, labels_B))
    assert torch.equal(value, expected)
    of_triplets = losses.build("ContrastiveLoss", library="pml")(selection._replace(pairs=None), z_BD, labels_B).value
    assert not torch.isclose(of_triplets, expected, rtol=1e-3)


def test_multi_similarity_of_the_lab_is_the_miner_with_the_loss_of_the_package():
    z_BD, labels_B = batch()
    selection = built("MultiSimilarityMiner", epsilon=0.1).mine(z_BD, labels_B)
    theirs = losses.build("MultiSimilarityLoss", library="pml", base=1)(selection, z_BD, labels_B).value
    ours = losses.build("multi_similarity", epsilon=0.1)
    torch.testing.assert_close(ours(samplers.build("none").mine(z_BD, labels_B), z_BD, labels_B).value, theirs)


@pytest.mark.parametrize("name", ["TripletMarginMiner", "MultiSimilarityMiner"])
def test_a_repeated_image_is_no_positive_of_itself(name):
    z_BD, labels_B = batch()
    ids_B = torch.arange(len(labels_B))
    ids_B[1] = ids_B[0]
    sampler = built(name)
    every, kept = (sampler.mine(z_BD, labels_B, ids) for ids in (None, ids_B))
    anchor_T, positive_T, _ = every.triplets
    copies = (ids_B[anchor_T] == ids_B[positive_T]).sum()
    assert copies > 0
    assert len(kept.triplets.anchor_T) == len(anchor_T) - copies
    assert not (ids_B[kept.triplets.anchor_T] == ids_B[kept.triplets.positive_T]).any()
    if kept.pairs is not None:
        assert not (ids_B[kept.pairs.anchor_P] == ids_B[kept.pairs.positive_P]).any()
        assert torch.equal(kept.pairs.negative_N, every.pairs.negative_N)


@pytest.mark.parametrize("loss", ["triplet", "margin", "n_pair", "contrastive"])
def test_a_batch_without_triplets_has_loss_0_and_no_statistics_of_distances(loss):
    z_BD, labels_B = torch.eye(6), torch.arange(3).repeat_interleave(2)
    z_BD[[1, 3, 5]] = z_BD[[0, 2, 4]]
    selection = built("TripletMarginMiner", margin=0.1).mine(z_BD, labels_B)
    assert len(selection.triplets.anchor_T) == 0
    output = losses.build(loss)(selection, z_BD.requires_grad_(), labels_B)
    output.value.backward()
    assert output.value == 0
    assert set(describe(selection, selected_distances(selection))) == {"triplets_per_pair"}


def test_the_draws_follow_the_seed_of_the_sampler_alone():
    z_BD, labels_B = batch()
    picks = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        sampler = built("DistanceWeightedMiner", seed=4)
        picks.append([sampler.mine(z_BD, labels_B).triplets.negative_TM[:, 0].tolist() for _ in range(3)])
    assert picks[0] == picks[1]
    assert picks[0][0] != picks[0][1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BatchHard", {}, "no sampler.name=BatchHard. The nearest names: BatchHardMiner"),
        (None, {}, "sampler=pml needs the name of a sampler .*sampler.name=NAME"),
        ("EmbeddingsAlreadyPackagedAsTriplets", {}, "cannot be used here: .*not packed"),
        ("AngularMiner", {"angel": 20}, "no option 'angel'. Did you mean 'angle'"),
        ("AngularMiner", {"num_negatives": 4}, r"AngularMiner .*sampler.num_negatives=1 instead of 4"),
        ("BatchHardMiner", {"pos_strategy": "hardest"}, "BatchHardMiner refuses its options"),
    ],
)
def test_what_the_package_does_not_have_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        built(name, **options)


def test_a_selection_has_no_pairs_unless_a_miner_selects_pairs():
    z_BD, labels_B = batch()
    assert Selection(samplers.build("hard")(z_BD, labels_B), z_BD).pairs is None
    assert samplers.build("multi_similarity").mine(z_BD, labels_B).pairs is None
