"""The triplet loss agrees with the loops, in value and gradient, and with pytorch-metric-learning."""

import math

import pytest
import torch
import torch.nn.functional as F
from loss_outputs import output_of, value_of
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer

from siamese_lab import losses
from siamese_lab.batch import Triplets

IMAGES, DIMENSIONS, PAIRS = 7, 5, 11

every_option = pytest.mark.parametrize(
    "options",
    [
        {"soft": soft, "distance": distance, "reduction": reduction, "margin": margin}
        for soft in (False, True)
        for distance in ("plain", "squared")
        for reduction in ("mean", "mean_active")
        for margin in (0.1, 0.6)
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)


def images(seed=0):
    return torch.randn(IMAGES, DIMENSIONS, generator=torch.Generator().manual_seed(seed))


def some_triplets(negatives=1, seed=0):
    """Return triplets of three different images each; the loss does not use classes."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.stack([torch.randperm(IMAGES, generator=generator) for _ in range(PAIRS)])
    return Triplets(rows[:, 0], rows[:, 1], rows[:, 2 : 2 + negatives])


def normalised(point):
    length = math.sqrt(sum(x * x for x in point))
    return [x / length for x in point]


def oracle(points, triplets, margin=0.2, soft=False, distance="plain", reduction="mean"):
    """Compute the loss and the share of active terms of points that are not yet normalized."""
    unit = [normalised(point) for point in points]
    power = 2 if distance == "squared" else 1
    terms = []
    rows = zip(triplets.anchor_T.tolist(), triplets.positive_T.tolist(), triplets.negative_TM.tolist(), strict=True)
    for a, p, negatives in rows:
        for n in negatives:
            excess = math.dist(unit[a], unit[p]) ** power - math.dist(unit[a], unit[n]) ** power
            terms.append(math.log(1 + math.exp(excess)) if soft else max(0.0, excess + margin))
    active = sum(term > 0 for term in terms)
    count = len(terms) if reduction == "mean" else max(1, active)
    return sum(terms) / count, active / len(terms)


def finite_differences(points, *arguments, step=1e-6, **options):
    gradient = []
    for i, point in enumerate(points):
        gradient.append([])
        for j in range(len(point)):
            value = {}
            for sign in (1, -1):
                moved = [list(row) for row in points]
                moved[i][j] += sign * step
                value[sign] = oracle(moved, *arguments, **options)[0]
            gradient[i].append((value[1] - value[-1]) / (2 * step))
    return gradient


@every_option
@pytest.mark.parametrize("negatives", [1, 3])
def test_the_loss_and_its_gradient_agree_with_the_loops(options, negatives):
    x_BD = images().requires_grad_()
    triplets = some_triplets(negatives)
    loss_function = losses.build("triplet", **options)
    loss, statistics, _ = output_of(loss_function, F.normalize(x_BD, dim=1), triplets)
    loss.backward()

    points = x_BD.detach().double().tolist()
    expected, active_share = oracle(points, triplets, **options)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert statistics["active_share"].item() == pytest.approx(active_share)
    expected_BD = torch.tensor(finite_differences(points, triplets, **options))
    torch.testing.assert_close(x_BD.grad, expected_BD, atol=2e-5, rtol=1e-4)


def test_the_cases_above_have_active_and_inactive_triplets():
    shares = {oracle(images().tolist(), some_triplets(3), margin=margin)[1] for margin in (0.1, 0.6)}
    assert len(shares) == 2
    assert all(0 < share < 1 for share in shares)


@pytest.mark.parametrize("reduction", ["mean", "mean_active"])
@pytest.mark.parametrize("distance", ["plain", "squared"])
@pytest.mark.parametrize("soft", [False, True])
def test_agrees_with_pytorch_metric_learning(soft, distance, reduction):
    z_BD = F.normalize(images(), dim=1)
    triplets = some_triplets(seed=1)
    theirs = TripletMarginLoss(
        margin=0.0 if soft else 0.2,
        smooth_loss=soft,
        distance=LpDistance(normalize_embeddings=True, p=2, power=2 if distance == "squared" else 1),
        reducer=MeanReducer() if reduction == "mean" else AvgNonZeroReducer(),
    )
    indices = (triplets.anchor_T, triplets.positive_T, triplets.negative_TM[:, 0])
    expected = theirs(z_BD, torch.arange(IMAGES), indices_tuple=indices)
    ours = losses.build("triplet", soft=soft, distance=distance, reduction=reduction)
    torch.testing.assert_close(value_of(ours, z_BD, triplets), expected)


@pytest.mark.parametrize("reduction", ["mean", "mean_active"])
@pytest.mark.parametrize("distance", ["plain", "squared"])
def test_no_active_triplet_gives_exactly_0_which_back_propagates(distance, reduction):
    z_BD = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    triplets = Triplets(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([[2], [2]]))
    loss_function = losses.build("triplet", distance=distance, reduction=reduction)
    loss, statistics, _ = output_of(loss_function, z_BD, triplets)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(z_BD.grad, torch.zeros(3, 2))
    assert statistics["active_share"].item() == 0


@pytest.mark.parametrize(("soft", "expected"), [(False, 0.3), (True, math.log(2))])
@pytest.mark.parametrize("distance", ["plain", "squared"])
def test_a_collapsed_network_has_the_margin_or_ln_2_without_nan(soft, expected, distance):
    x_BD = images()[:1].repeat(IMAGES, 1).requires_grad_()
    loss_function = losses.build("triplet", margin=0.3, soft=soft, distance=distance)
    loss, statistics, _ = output_of(loss_function, F.normalize(x_BD, dim=1), some_triplets(2))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=2e-3)
    assert torch.isfinite(x_BD.grad).all()
    assert statistics["active_share"].item() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_give_a_float32_loss(dtype):
    z_BD = F.normalize(images(), dim=1).to(dtype)
    loss = value_of(losses.build("triplet"), z_BD, some_triplets())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, value_of(losses.build("triplet"), z_BD.float(), some_triplets()))


def test_autocast_does_not_lower_the_precision():
    z_BD = F.normalize(images(), dim=1)
    expected = value_of(losses.build("triplet"), z_BD, some_triplets())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(value_of(losses.build("triplet"), z_BD, some_triplets()), expected)


def test_the_mean_over_active_triplets_is_the_mean_over_all_divided_by_their_share():
    z_BD = F.normalize(images(), dim=1)
    over_all, over_active = (losses.build("triplet", reduction=reduction) for reduction in ("mean", "mean_active"))
    mean, statistics, _ = output_of(over_all, z_BD, some_triplets(3))
    share = statistics["active_share"]
    assert 0 < share < 1
    torch.testing.assert_close(value_of(over_active, z_BD, some_triplets(3)), mean / share)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, r"The triplet loss needs a margin above 0, but it is 0\.0\."),
        ({"margin": math.nan}, r"The triplet loss needs a margin above 0, but it is nan\."),
        ({"distance": "cosine"}, r"distance must be one of plain, squared, but is 'cosine'\."),
        ({"reduction": "sum"}, r"reduction must be 'mean' or 'mean_active', but is 'sum'\."),
        ({"margins": 0.2}, r"The loss 'triplet' has no option 'margins'\. Did you mean 'margin'\?"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        losses.build("triplet", **options)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match=r"There is no loss 'tripplet'\. Did you mean 'triplet'\?"):
        losses.build("tripplet")
