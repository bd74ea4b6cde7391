"""Every loss agrees with its oracle over the whole range of every option, in value and in gradient.

`SIAMESE_LAB_DRAWN_BATCHES=100000 pytest -n0 tests/losses/test_loss_options.py` draws more batches.

Shapes: B images of the batch, C candidates (the batch, then remembered images), D embedding dimensions, T pairs, M
negatives per pair.
"""

import itertools
import math
import os
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loss_oracles import ORACLES, softmax
from shipped import LOSSES, TRIPLET_LOSSES
from torch import Tensor

from siamese_lab import losses, samplers
from siamese_lab.batch import NoTriplets, Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.losses.base import COLDEST
from siamese_lab.registry import options_of

BATCHES = int(os.environ.get("SIAMESE_LAB_DRAWN_BATCHES", "450"))
"""Number of batches to draw, over all losses."""
CLASSES = 3
STEP = 1e-6
"""The step of the finite differences of the oracle."""
over_its_range = settings(
    max_examples=-(-BATCHES // len(TRIPLET_LOSSES)),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MARGIN = st.one_of(st.sampled_from([1e-30, 1e-6, 4.0, 1e6]), st.floats(1e-3, 2.5))
TEMPERATURE = st.one_of(st.sampled_from([COLDEST, 1e-3, 1e6]), st.floats(0.01, 10))
SCALE = st.one_of(st.sampled_from([COLDEST, 1e3, 1e6]), st.floats(0.1, 100))
VECTOR_LR = st.sampled_from([None, 0.0, 1e-3, 1e6])
DISTANCE = st.sampled_from(["plain", "squared"])
REDUCTION = st.sampled_from(["mean", "mean_active"])
BASE = {
    "classes": st.sampled_from([CLASSES, CLASSES + 4]),
    "dimensions": st.sampled_from([2, 3, 128]),
    "seed": st.sampled_from([0, 7]),
}
OWN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "triplet": {"margin": MARGIN, "soft": st.booleans(), "distance": DISTANCE, "reduction": REDUCTION},
    "margin": {
        "margin": MARGIN,
        "beta": MARGIN,
        "beta_per_class": st.booleans(),
        "beta_lr": st.sampled_from([0.0, 1e-3, 1e6]),
        "distance": DISTANCE,
    },
    "n_pair": {
        "temperature": TEMPERATURE,
        "l2_penalty": st.one_of(st.none(), st.just(0.0), st.floats(1e-6, 10)),
        "expansion": st.just(0),  # test_every_loss and test_expansion have others, which need a batch without memory
    },
    "softmax": {"temperature": TEMPERATURE, "vector_lr": VECTOR_LR},
    "contrastive": {"margin": MARGIN, "reduction": REDUCTION},
    "multi_similarity": {
        "alpha": SCALE,
        "beta": SCALE,
        "threshold": st.floats(-1, 1),
        "epsilon": st.one_of(st.none(), st.sampled_from([0.0, 0.1, 1e6])),
    },
    "proxy_anchor": {"margin": st.floats(0, 2), "alpha": SCALE, "vector_lr": VECTOR_LR},
    "arcface": {"margin": st.floats(0, 1.57), "scale": SCALE, "vector_lr": VECTOR_LR},
    "supcon": {"temperature": TEMPERATURE},
    "circle": {"margin": st.floats(0, 1), "gamma": SCALE},
}
"""The range of every option that only one loss has."""


def test_every_option_of_every_loss_has_a_range():
    """A new loss or option needs a range above, and an oracle."""
    assert set(OWN) == set(LOSSES)
    for name in LOSSES:
        assert set(OWN[name]) | set(BASE) == set(options_of(losses.registry.classes[name])), name


class Drawn(NamedTuple):
    """A batch with listed triplets, not yet normalized."""

    x_CD: Tensor
    triplets: Triplets
    labels_B: Tensor


@st.composite
def batches(draw: st.DrawFn) -> Drawn:
    """Draw points that may coincide or be opposite, and triplets, possibly none."""
    images, dimensions = draw(st.integers(2, 8)), draw(st.sampled_from([1, 2, 3, 16, 128]))
    pairs, negatives, remembered = draw(st.integers(0, 10)), draw(st.integers(1, 4)), draw(st.integers(0, 3))
    geometry = draw(st.sampled_from(["anywhere", "few_places", "identical", "antipodal"]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    count = images + remembered
    x_CD = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
    if geometry == "few_places":
        x_CD = x_CD[torch.randint(min(3, count), (count,), generator=generator)]
    elif geometry != "anywhere":
        x_CD = x_CD[:1].expand(count, -1).clone()
    if geometry == "antipodal":
        x_CD *= torch.randint(2, (count, 1), generator=generator) * 2.0 - 1
    anchor_T, positive_T = (torch.randint(images, (pairs,), generator=generator) for _ in range(2))
    negative_TM = torch.randint(count, (pairs, negatives), generator=generator)
    return Drawn(
        x_CD, Triplets(anchor_T, positive_T, negative_TM), torch.randint(CLASSES, (images,), generator=generator)
    )


def built(name, options):
    loss = losses.build(name, **options).double()
    if options.get("beta_per_class"):
        loss.beta.data *= torch.linspace(0.8, 1.2, options["classes"], dtype=torch.float64)
    return loss


def oracle(name, options, x_CD, drawn, betas):
    """Return value and active share of the plain loops for points that are not yet normalized."""
    has_penalty = options.get("l2_penalty") is not None
    points = (x_CD[: len(drawn.labels_B)] if has_penalty else F.normalize(x_CD, dim=1)).tolist()
    triplets = list(zip(*(index.tolist() for index in drawn.triplets), strict=True))
    if name == "margin":
        options = {**options, "beta": betas[0], "betas": betas if options["beta_per_class"] else None}
    return ORACLES[name](points, triplets, drawn.labels_B.tolist(), **options)


@pytest.mark.parametrize("name", TRIPLET_LOSSES)
@over_its_range
@given(data=st.data())
def test_value_and_gradient_agree_with_the_oracle(name, data):
    options = data.draw(st.fixed_dictionaries(OWN[name] | BASE), "options")
    drawn = data.draw(batches(), "batch")
    loss, images = built(name, options), len(drawn.labels_B)
    if not loss.needs_unit_norm:  # no memory then
        within = drawn.triplets._replace(negative_TM=drawn.triplets.negative_TM % images)
        drawn = drawn._replace(x_CD=drawn.x_CD[:images], triplets=within)
    x_CD = drawn.x_CD.clone().requires_grad_()
    z_CD = F.normalize(x_CD, dim=1) if loss.needs_unit_norm else x_CD
    output = loss(Selection(drawn.triplets, z_CD.detach()), z_CD[:images], drawn.labels_B)
    output.value.backward()
    value, share = output.value.item(), float(output.statistics["active_share"])
    assert math.isfinite(value)
    assert x_CD.grad.isfinite().all()
    assert not x_CD.grad[images:].any()

    betas = loss.beta.detach().flatten().tolist() if name == "margin" else []
    expected, active = oracle(name, options, drawn.x_CD, drawn, betas)
    divides_by_active = name == "margin" or options.get("reduction") == "mean_active"
    if divides_by_active and not math.isclose(share, active, abs_tol=1e-6):
        # Rounding made terms of 0 positive, or the reverse. That changes the divisor of a mean over active terms.
        assert value * share == pytest.approx(expected * active, rel=1e-6, abs=1e-6)
        return
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)
    if not has_coincident_pairs(drawn):
        assert_gradient(name, options, loss, x_CD.grad, drawn, betas)


def has_coincident_pairs(drawn):
    """Return whether a pair is at distance 0, where a distance has no gradient."""
    z_CD, (anchor_T, positive_T, negative_TM) = F.normalize(drawn.x_CD, dim=1), drawn.triplets
    d_ap_T, d_an_TM = (
        (z_CD[anchor_T] - z_CD[positive_T]).norm(dim=1),
        (z_CD[anchor_T, None] - z_CD[negative_TM]).norm(dim=2),
    )
    return bool((d_ap_T < 1e-4).any() or (d_an_TM < 1e-4).any())


def assert_gradient(name, options, loss, gradient_CD, drawn, betas):
    """Compare the slope in one direction with the differences of the oracle on both sides.

    At the kink of a hinge the slope lies between both differences.
    """
    images = len(drawn.labels_B)
    direction_CD = torch.randn(drawn.x_CD.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    direction_CD[images:] = 0
    turns = [0.5 + number / 10 for number in range(len(betas))]
    sides = [
        oracle(
            name,
            options,
            drawn.x_CD + step * direction_CD,
            drawn,
            [beta + step * turn for beta, turn in zip(betas, turns, strict=True)],
        )
        for step in (-STEP, 0.0, STEP)
    ]
    if len({active for _, active in sides}) > 1:  # also where nothing divides by their number: a kink
        return  # the divisor of a mean over active terms changes here
    backward, forward = ((sides[n + 1][0] - sides[n][0]) / STEP for n in range(2))
    slope = float((gradient_CD * direction_CD).sum())
    if betas:
        slope += sum(turn * each for turn, each in zip(turns, loss.beta.grad.flatten().tolist(), strict=True))
    slack = 1e-4 * max(1.0, abs(forward), abs(backward)) + 1e-14 * max(1.0, abs(sides[1][0])) / STEP
    slack += abs(forward - backward)
    assert min(backward, forward) - slack <= slope <= max(backward, forward) + slack


@settings(max_examples=max(20, BATCHES // 10), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_loss_over_all_triplets_equals_the_loss_over_their_list(data):
    """`every_triplet` computes in float32. Semi-hard triplets at the very edge of the window may count or not."""
    options, semi_hard = (
        data.draw(st.fixed_dictionaries(OWN["triplet"]), "options"),
        data.draw(st.booleans(), "semi_hard"),
    )
    sizes = [*data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)), data.draw(st.integers(2, 4))]
    dimensions, seed = data.draw(st.sampled_from([2, 3, 16, 128])), data.draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    x_BD = torch.randn(len(labels_B), dimensions, generator=generator)
    z_BD = F.normalize(x_BD, dim=1)
    listed = all_triplets(z_BD, labels_B, options, semi_hard)
    if listed is None:
        return
    gradients = []
    for selection in (samplers.build("all", semi_hard=semi_hard).mine(z_BD, labels_B), Selection(listed, z_BD)):
        moved_BD = x_BD.clone().requires_grad_()
        value = losses.build("triplet", **options)(selection, F.normalize(moved_BD, dim=1)).value
        value.backward()
        gradients.append((value.detach(), moved_BD.grad))
    (value, gradient_BD), (expected, expected_BD) = gradients
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient_BD, expected_BD, rtol=1e-3, atol=1e-4)


def all_triplets(z_BD, labels_B, options, semi_hard):
    """List all triplets with plain loops; None if rounding decides about one."""
    points, labels, power = z_BD.double(), labels_B.tolist(), 2 if options["distance"] == "squared" else 1
    images, found = range(len(labels)), []
    for a, p, n in itertools.product(images, images, images):
        if a == p or labels[a] != labels[p] or labels[a] == labels[n]:
            continue
        gap = float((points[a] - points[n]).norm()) ** power - float((points[a] - points[p]).norm()) ** power
        edges = (0.0, options["margin"]) if semi_hard else (options["margin"],)
        if any(abs(gap - edge) < 1e-5 for edge in edges):
            return None
        if not semi_hard or 0 < gap < options["margin"]:
            found.append((a, p, n))
    index = torch.tensor(found, dtype=torch.int64).reshape(-1, 3)
    return Triplets(index[:, 0], index[:, 1], index[:, 2:])


@over_its_range
@given(data=st.data())
def test_softmax_agrees_with_the_loops_in_value_and_gradient(data):
    options = data.draw(st.fixed_dictionaries(OWN["softmax"] | BASE), "options")
    drawn = data.draw(batches(), "batch")
    images, dimensions = len(drawn.labels_B), drawn.x_CD.shape[1]
    loss = losses.build("softmax", **options | {"dimensions": dimensions}).double()
    x_BD = drawn.x_CD[:images].clone().requires_grad_()
    z_BD = F.normalize(x_BD, dim=1)
    value = loss(Selection(NoTriplets(), z_BD.detach()), z_BD, drawn.labels_B).value
    value.backward()

    def loops(step=0.0):
        moved_BD = F.normalize(drawn.x_CD[:images] + step * direction_BD, dim=1)
        vectors = (loss.vector_CD.detach() + step * turn_CD).tolist()
        return softmax(moved_BD.tolist(), drawn.labels_B.tolist(), vectors, options["temperature"])

    generator = torch.Generator().manual_seed(1)
    direction_BD, turn_CD = (torch.randn(each.shape, generator=generator).double() for each in (x_BD, loss.vector_CD))
    assert value.item() == pytest.approx(loops()[0], rel=1e-6, abs=1e-6)
    assert x_BD.grad.isfinite().all()
    assert loss.vector_CD.grad.isfinite().all()
    if options["temperature"] >= 0.01:  # the differences of a steeper function are not accurate
        slope = float((x_BD.grad * direction_BD).sum() + (loss.vector_CD.grad * turn_CD).sum())
        expected = (loops(STEP)[0] - loops(-STEP)[0]) / (2 * STEP)
        assert slope == pytest.approx(expected, rel=1e-3, abs=1e-5 / options["temperature"] + 1e-9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("triplet", {"margin": math.inf}, "needs a finite margin above 0, but it is inf"),
        ("contrastive", {"margin": math.inf}, "needs a finite margin above 0, but it is inf"),
        ("margin", {"margin": math.inf}, "needs a finite margin above 0, but it is inf"),
        ("margin", {"beta": math.inf}, "needs a finite beta above 0, but it is inf"),
        ("n_pair", {"temperature": math.inf}, "needs a finite temperature above 0, but it is inf"),
        ("n_pair", {"temperature": 1e-30}, "temperature of at least 1e-06, but it is 1e-30"),
        ("n_pair", {"l2_penalty": math.inf}, "l2_penalty must be 0 or more.* but is inf"),
    ],
)
def test_a_number_that_gives_an_infinite_loss_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        losses.build(name, **options)
