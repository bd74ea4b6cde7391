"""The contrastive loss acts on pairs rather than triplets."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import compose
from loss_outputs import output_of, value_of
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import DoNothingReducer

from siamese_lab import losses
from siamese_lab.batch import Triplets


def test_agrees_with_pytorch_metric_learning_pair_by_pair_except_for_the_square():
    """The peer computes d and [m − d]₊ (each averaged over non-zero terms); Hadsell's loss is half of their squares."""
    generator = torch.Generator().manual_seed(0)
    z_BD = F.normalize(torch.randn(9, 5, generator=generator), dim=1)
    a, p, n = torch.stack([torch.randperm(9, generator=generator)[:3] for _ in range(20)], 1)
    theirs = ContrastiveLoss(
        neg_margin=1.3, distance=LpDistance(normalize_embeddings=False), reducer=DoNothingReducer()
    )
    terms = theirs(z_BD, torch.arange(9), indices_tuple=(a, p, a, n))
    expected = torch.cat([terms[kind]["losses"] for kind in ("pos_loss", "neg_loss")]).square().mean() / 2
    loss = losses.build("contrastive", margin=1.3)
    output = output_of(loss, z_BD, Triplets(a, p, n[:, None]))
    torch.testing.assert_close(output.value, expected)
    assert 0.5 < output.statistics["active_share"] < 1


def test_a_collapsed_network_has_a_quarter_of_the_squared_margin():
    z_BD = torch.tensor([[0.6, 0.8]]).repeat(3, 1).requires_grad_()
    triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    value = value_of(losses.build("contrastive", margin=1.2), z_BD, triplets)
    value.backward()
    assert value.item() == pytest.approx(1.2**2 / 4, abs=1e-3)
    assert z_BD.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, r"The contrastive loss needs a margin above 0, but it is 0\.0\."),
        ({"margin": math.nan}, r"The contrastive loss needs a margin above 0, but it is nan\."),
        ({"reduction": "sum"}, r"reduction must be 'mean' or 'mean_active', but is 'sum'\."),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        losses.build("contrastive", **options)


def test_semi_hard_mining_takes_every_negative_beyond_the_positive_that_the_loss_acts_on():
    """Its window d_ap < d_an < d_ap + m contains all negatives with d_ap < d_an < m."""
    assert compose("loss=contrastive", "sampler=semi_hard").sampler.margin == 1.0
