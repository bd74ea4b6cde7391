"""The N-pair loss takes many negatives at once, a temperature, and embeddings of any norm."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import compose
from loss_outputs import value_of
from pytorch_metric_learning.distances import DotProductSimilarity
from pytorch_metric_learning.losses import NPairsLoss, NTXentLoss

from siamese_lab import losses
from siamese_lab.batch import Selection, Triplets
from siamese_lab.training.build import build_datamodule, build_module

CLASSES = 6


def n_pairs():
    """Return two images of each class. Anchor i has the positive i + CLASSES and all other positives as negatives."""
    x_BD = torch.randn(2 * CLASSES, 5, generator=torch.Generator().manual_seed(0))
    anchor_T = torch.arange(CLASSES)
    others_TM = torch.stack([torch.cat([anchor_T[:i], anchor_T[i + 1 :]]) for i in range(CLASSES)]) + CLASSES
    return x_BD, Triplets(anchor_T, anchor_T + CLASSES, others_TM)


def test_agrees_with_pytorch_metric_learnings_n_pairs_on_embeddings_of_any_norm():
    x_BD, triplets = n_pairs()
    theirs = NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False))
    expected = theirs(x_BD, torch.arange(2 * CLASSES) % CLASSES)
    ours = losses.build("n_pair", temperature=1.0, l2_penalty=0.0)
    torch.testing.assert_close(value_of(ours, x_BD, triplets), expected)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_agrees_with_pytorch_metric_learnings_ntxent_if_an_anchor_has_one_pair(temperature):
    """An anchor with several pairs would differ: NT-Xent compares each pair with the negatives of all its pairs."""
    x_BD, triplets = n_pairs()
    z_BD = F.normalize(x_BD, dim=1)
    pairs = (
        triplets.anchor_T,
        triplets.positive_T,
        triplets.anchor_T.repeat_interleave(CLASSES - 1),
        triplets.negative_TM.flatten(),
    )
    expected = NTXentLoss(temperature)(z_BD, torch.arange(2 * CLASSES) % CLASSES, indices_tuple=pairs)
    torch.testing.assert_close(value_of(losses.build("n_pair", temperature=temperature), z_BD, triplets), expected)


def test_one_negative_gives_the_soft_triplet_loss_of_squared_distances():
    """With d² = 2 − 2s, softplus((s_an − s_ap) / τ) equals softplus(d²_ap − d²_an) at τ = ½."""
    x_BD, triplets = n_pairs()
    z_BD = F.normalize(x_BD, dim=1)
    first = Triplets(triplets.anchor_T, triplets.positive_T, triplets.negative_TM[:, :1])
    soft = value_of(losses.build("triplet", soft=True, distance="squared"), z_BD, first)
    torch.testing.assert_close(value_of(losses.build("n_pair", temperature=0.5), z_BD, first), soft)


def test_a_collapsed_network_has_the_logarithm_of_the_number_of_choices():
    _, triplets = n_pairs()
    z_BD = torch.tensor([[0.6, 0.8]]).repeat(2 * CLASSES, 1)
    assert value_of(losses.build("n_pair"), z_BD, triplets).item() == pytest.approx(math.log(CLASSES))


def test_confident_pairs_do_not_overflow():
    z_BD = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    right = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    wrong = Triplets(torch.tensor([0]), torch.tensor([2]), torch.tensor([[1]]))
    loss = losses.build("n_pair", temperature=1e-3)
    assert value_of(loss, z_BD, right).item() == 0
    assert value_of(loss, z_BD, wrong).item() == pytest.approx(2000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"The N-pair loss needs a temperature above 0, but it is 0\.0\."),
        ({"l2_penalty": -1.0}, r"l2_penalty must be 0 or more, or null for unit-norm embeddings, but is -1\.0\."),
        ({"margin": 0.2}, r"The loss 'n_pair' has no option 'margin'\."),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        losses.build("n_pair", **options)


def test_embeddings_from_a_memory_need_unit_norm():
    x_BD, triplets = n_pairs()
    with pytest.raises(ValueError, match=r"takes the 6 embeddings of the batch alone, but got 12: remembered ones"):
        losses.build("n_pair", l2_penalty=0.1)(Selection(triplets, x_BD), x_BD[:CLASSES])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.normalize=false"], r"network\.normalize=false.*network\.normalize=true"),
        (["loss=n_pair", "loss.l2_penalty=0.001"], r"network\.normalize=true.*loss\.l2_penalty=null"),
    ],
)
def test_network_and_loss_must_agree_on_unit_norm(overrides, message):
    config = compose(*overrides)
    with pytest.raises(ValueError, match=message):
        build_module(config, build_datamodule(config))


@pytest.mark.parametrize(
    "sampler",
    [
        ["sampler=memory"],
        ["sampler=curriculum", "sampler.stages=[{name: random, until: 0.5}, {name: memory, until: 1}]"],
    ],
)
def test_a_memory_needs_unit_norm(sampler):
    config = compose("loss=n_pair", "loss.l2_penalty=0.001", "network.normalize=false", *sampler)
    with pytest.raises(ValueError, match=r"memory.*loss\.l2_penalty=null"):
        build_module(config, build_datamodule(config))


def test_semi_hard_mining_has_its_own_margin_if_the_loss_has_none():
    config = compose("loss=n_pair", "sampler=semi_hard")
    assert (config.sampler.margin, config.sampler.distance) == (0.2, "plain")
