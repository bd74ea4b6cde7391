"""The margin loss learns β, either one for all classes or one for each."""

import math

import pytest
import torch
import torch.nn.functional as F
from loss_outputs import output_of, value_of
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import MarginLoss

from siamese_lab import losses
from siamese_lab.batch import Triplets

IMAGES, CLASSES, PAIRS = 12, 3, 30


def batch(seed=0, negatives=1):
    generator = torch.Generator().manual_seed(seed)
    z_BD = F.normalize(torch.randn(IMAGES, 6, generator=generator), dim=1)
    indices = torch.stack([torch.randperm(IMAGES, generator=generator)[: 2 + negatives] for _ in range(PAIRS)])
    labels_B = torch.arange(IMAGES) % CLASSES
    return z_BD, Triplets(indices[:, 0], indices[:, 1], indices[:, 2:]), labels_B


@pytest.mark.parametrize("distance", ["plain", "squared"])
@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("negatives", [1, 3])
def test_agrees_with_pytorch_metric_learning(negatives, per_class, distance):
    """Values and gradients of embeddings and β agree. The peer's ν, an additional force on β, is 0 by default."""
    z_BD, triplets, labels_B = batch(negatives=negatives)
    power = 2 if distance == "squared" else 1
    theirs = MarginLoss(
        margin=0.2,
        beta=1.2,
        learn_beta=True,
        num_classes=CLASSES if per_class else None,
        distance=LpDistance(normalize_embeddings=False, p=2, power=power),
    )
    ours = losses.build("margin", beta_per_class=per_class, classes=CLASSES, distance=distance)
    start_C = torch.tensor([1.0, 1.2, 1.4]) if per_class else torch.tensor([1.1])
    theirs.beta.data.copy_(start_C)
    ours.beta.data.copy_(start_C if per_class else start_C[0])

    one_BD, other_BD = z_BD.clone().requires_grad_(), z_BD.clone().requires_grad_()
    repeated = triplets.anchor_T.repeat_interleave(negatives), triplets.positive_T.repeat_interleave(negatives)
    expected = theirs(one_BD, labels_B, indices_tuple=(*repeated, triplets.negative_TM.flatten()))
    value = value_of(ours, other_BD, triplets, labels_B)
    expected.backward()
    value.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(ours.beta.grad, theirs.beta.grad.view_as(ours.beta))
    # Along z the two differ: d² = 2 − 2 z·z' here, ‖z − z'‖² there. The unit norm before the loss makes them equal.
    tangent = [each.grad - (each.grad * z_BD).sum(1, keepdim=True) * z_BD for each in (one_BD, other_BD)]
    torch.testing.assert_close(tangent[1], tangent[0], atol=1e-5, rtol=1e-4)


def test_beta_settles_with_as_many_positives_too_far_as_negatives_too_near():
    z_BD, triplets, labels_B = batch(negatives=2)
    loss = losses.build("margin", beta=0.3)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.02)
    for _ in range(500):
        optimizer.zero_grad()
        value_of(loss, z_BD, triplets, labels_B).backward()
        optimizer.step()
    assert loss.beta.item() > 0.6
    assert abs(loss.beta.grad.item()) < 0.15
    statistics = output_of(loss, z_BD, triplets, labels_B).statistics
    assert statistics["beta_mean"].item() == pytest.approx(loss.beta.item(), rel=1e-6)


def test_a_class_without_anchor_does_not_move_its_beta():
    z_BD, _, labels_B = batch()
    loss = losses.build("margin", beta_per_class=True, classes=CLASSES)
    anchors_T = (labels_B == 1).nonzero().squeeze(1)
    triplets = Triplets(anchors_T, anchors_T.flip(0), torch.zeros(len(anchors_T), 1).long())
    value_of(loss, z_BD, triplets, labels_B).backward()
    assert loss.beta.grad[[0, 2]].tolist() == [0, 0]
    assert loss.beta.grad[1] != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, r"The margin loss needs a margin above 0, but it is 0\.0\."),
        ({"beta": -1.2}, r"The margin loss needs a beta above 0, but it is -1\.2\."),
        ({"beta": math.nan}, r"The margin loss needs a beta above 0, but it is nan\."),
        ({"beta_lr": -0.1}, r"needs a beta_lr of 0 or more, but it is -0\.1\."),
        ({"beta_per_class": True}, r"beta_per_class=true needs to know how many classes there are"),
        ({"distance": "cosine"}, r"distance must be one of plain, squared, but is 'cosine'\."),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        losses.build("margin", **options)


def test_a_beta_per_class_needs_labels():
    z_BD, triplets, _ = batch()
    with pytest.raises(ValueError, match=r"needs the labels of the batch: loss\(.*labels_B\)"):
        output_of(losses.build("margin", beta_per_class=True, classes=CLASSES), z_BD, triplets)
