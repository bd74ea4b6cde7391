"""The loss over all triplets equals the loss over their list and the peer's loss, in value and gradient."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from loss_outputs import output_of, value_of
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer

from siamese_lab import distances, losses, samplers
from siamese_lab.batch import Triplets

MARGIN = 0.3
every_option = pytest.mark.parametrize(
    ("soft", "distance", "reduction"),
    itertools.product((False, True), ("plain", "squared"), ("mean", "mean_active")),
)


def batch(sizes=(4, 4, 4, 4), seed=0, dimensions=6):
    """Return points around a center for each class, not yet normalized, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels_B = labels_B[torch.randperm(len(labels_B), generator=generator)]
    centre_CD = torch.randn(len(sizes), dimensions, generator=generator)
    return centre_CD[labels_B] + torch.randn(len(labels_B), dimensions, generator=generator), labels_B


def listed(z_BD, labels_B, semi_hard, distance, image_ids_B=None):
    """List all triplets with plain loops."""
    ids = range(len(labels_B)) if image_ids_B is None else image_ids_B.tolist()
    labels, points = labels_B.tolist(), z_BD.double()
    power = 2 if distance == "squared" else 1
    images = range(len(labels))
    found = []
    for a, p, n in itertools.product(images, images, images):
        if ids[a] == ids[p] or labels[a] != labels[p] or labels[a] == labels[n]:
            continue
        gap = float((points[a] - points[n]).norm()) ** power - float((points[a] - points[p]).norm()) ** power
        if not semi_hard or 0 < gap < MARGIN:
            found.append((a, p, n))
    anchor_T, positive_T, negative_T = torch.tensor(found).unbind(1)
    return Triplets(anchor_T, positive_T, negative_T[:, None])


def gradient_of(function, x_BD):
    x_BD = x_BD.clone().requires_grad_()
    value = function(F.normalize(x_BD, dim=1))
    value.backward()
    return value.detach(), x_BD.grad


def loss_and_gradient(loss_function, x_BD, triplets):
    return gradient_of(lambda z_BD: value_of(loss_function, z_BD, triplets), x_BD)


@every_option
@pytest.mark.parametrize("semi_hard", [False, True])
@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (1, 2, 3, 5)])
def test_the_loss_equals_the_loss_over_the_list(sizes, semi_hard, soft, distance, reduction):
    x_BD, labels_B = batch(sizes)
    z_BD = F.normalize(x_BD, dim=1)
    options = {"margin": MARGIN, "soft": soft, "distance": distance, "reduction": reduction}
    over_list, over_all = losses.build("triplet", **options), losses.build("triplet", **options)
    triplets = listed(z_BD, labels_B, semi_hard, distance)
    expected, expected_BD = loss_and_gradient(over_list, x_BD, triplets)
    every = samplers.build("all", semi_hard=semi_hard)(z_BD, labels_B)
    loss, gradient_BD = loss_and_gradient(over_all, x_BD, every)

    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient_BD, expected_BD, atol=1e-6, rtol=1e-4)
    statistics = output_of(over_all, z_BD, every).statistics
    assert statistics[f"mean_of_{'all' if reduction == 'mean' else 'active'}"] == loss
    if not semi_hard:
        of_list = output_of(over_list, z_BD, triplets).statistics
        torch.testing.assert_close(statistics["active_share"], of_list["active_share"])


def test_a_repeated_image_is_excluded_and_other_images_are_used_once():
    x_BD, labels_B = batch((3, 3, 3))
    x_BD[labels_B == 0] = x_BD[labels_B == 0][:1]
    image_ids_B = torch.where(labels_B == 0, 0, torch.arange(9) + 1)
    image_ids_B[(labels_B == 0).nonzero()[0]] = 100
    triplets = listed(F.normalize(x_BD, dim=1), labels_B, False, "plain", image_ids_B)
    every = samplers.build("all", images_per_class=3)(F.normalize(x_BD, dim=1), labels_B, image_ids_B)
    loss_function = losses.build("triplet", margin=MARGIN)
    torch.testing.assert_close(
        loss_and_gradient(loss_function, x_BD, every), loss_and_gradient(loss_function, x_BD, triplets)
    )


@every_option
@pytest.mark.parametrize("semi_hard", [False, True])
def test_the_loss_equals_that_of_pytorch_metric_learning(semi_hard, soft, distance, reduction):
    x_BD, labels_B = batch((4,) * 12, seed=1, dimensions=16)
    peer_distance = LpDistance(normalize_embeddings=True, p=2, power=2 if distance == "squared" else 1)
    theirs = TripletMarginLoss(
        margin=0.0 if soft else MARGIN,
        smooth_loss=soft,
        distance=peer_distance,
        reducer=MeanReducer() if reduction == "mean" else AvgNonZeroReducer(),
    )
    z_BD = F.normalize(x_BD, dim=1)
    mined = TripletMarginMiner(MARGIN, "semihard", distance=peer_distance)(z_BD, labels_B) if semi_hard else None
    expected, expected_BD = gradient_of(lambda z_BD: theirs(z_BD, labels_B, mined), x_BD)
    ours = losses.build("triplet", margin=MARGIN, soft=soft, distance=distance, reduction=reduction)
    loss, gradient_BD = loss_and_gradient(ours, x_BD, samplers.build("all", semi_hard=semi_hard)(z_BD, labels_B))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient_BD, expected_BD, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("entries", [1, 40, 200])
@pytest.mark.parametrize("soft", [False, True])
def test_tiles_of_any_size_give_the_same(soft, entries, monkeypatch):
    x_BD, labels_B = batch((3, 5, 2, 4))
    every = samplers.build("all")(F.normalize(x_BD, dim=1), labels_B)
    loss_function = losses.build("triplet", soft=soft)
    expected = loss_and_gradient(loss_function, x_BD, every)
    monkeypatch.setitem(distances.TILE_ENTRIES, "cpu", entries)
    torch.testing.assert_close(loss_and_gradient(loss_function, x_BD, every), expected)


@pytest.mark.parametrize("semi_hard", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "mean_active"])
def test_no_active_triplet_gives_exactly_0_which_back_propagates(reduction, semi_hard):
    x_BD = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    labels_B = torch.tensor([0, 0, 1, 1])
    every = samplers.build("all", semi_hard=semi_hard)(x_BD, labels_B)
    loss_function = losses.build("triplet", reduction=reduction)
    loss, gradient_BD = loss_and_gradient(loss_function, x_BD, every)
    assert loss == 0
    assert torch.equal(gradient_BD, torch.zeros(4, 2))
    assert output_of(loss_function, x_BD, every).statistics["active_share"] == 0


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("distance", ["plain", "squared"])
def test_a_collapsed_network_gives_no_nan(distance, soft):
    x_BD = torch.ones(8, 4)
    labels_B = torch.arange(2).repeat_interleave(4)
    every = samplers.build("all")(F.normalize(x_BD, dim=1), labels_B)
    loss, gradient_BD = loss_and_gradient(losses.build("triplet", soft=soft, distance=distance), x_BD, every)
    assert loss.isfinite()
    assert gradient_BD.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_give_a_float32_loss_and_take_their_gradient(dtype):
    x_BD, labels_B = batch()
    z_BD = F.normalize(x_BD, dim=1).to(dtype).requires_grad_()
    every = samplers.build("all")(z_BD, labels_B)
    loss = value_of(losses.build("triplet"), z_BD, every)
    loss.backward()
    assert loss.dtype == torch.float32
    assert z_BD.grad.dtype == dtype
    torch.testing.assert_close(loss, value_of(losses.build("triplet"), z_BD.detach().float(), every))


def test_losses_and_samplers_declare_their_kinds_of_triplets():
    x_BD, labels_B = batch()
    for name in samplers.available():
        sampler = samplers.build(name)
        selected = sampler(F.normalize(x_BD, dim=1), labels_B)
        assert type(selected) is sampler.triplet_type
        assert (sampler.triplet_type in losses.build("triplet").accepted_types) == (name != "none")
