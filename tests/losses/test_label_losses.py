"""The losses of labels agree with the loops and with pytorch-metric-learning, and are finite for any batch.

`test_softmax` tests the softmax loss.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import compose, last_weights, quick_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loss_oracles import LABEL_ORACLES
from pytorch_metric_learning import losses as peers
from pytorch_metric_learning.miners import MultiSimilarityMiner
from shipped import LABEL_LOSSES
from test_loss_options import BASE, OWN
from torch.autograd import gradcheck
from torch.func import functional_call

from siamese_lab import losses, samplers
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.arcface import with_margin
from siamese_lab.training.build import build_datamodule, build_module

CLASSES, DIMENSIONS = 4, 6
NAMES = sorted(LABEL_ORACLES)
WITH_VECTORS = ("arcface", "proxy_anchor", "softmax")
OF_PAIRS = ("circle", "multi_similarity", "supcon")
CASES = [
    ("arcface", {}),
    ("arcface", {"margin": 1.5, "scale": 4.0}),
    ("circle", {}),
    ("circle", {"margin": 0.25, "gamma": 2.0}),
    ("multi_similarity", {}),
    ("multi_similarity", {"beta": 10.0, "threshold": 0.5, "epsilon": 0.1}),
    ("proxy_anchor", {}),
    ("proxy_anchor", {"margin": 0.3, "alpha": 2.0}),
    ("supcon", {}),
    ("supcon", {"temperature": 1.0}),
]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}{options}" for name, options in CASES])
every_loss = pytest.mark.parametrize("name", LABEL_LOSSES)


def built(name, dtype=torch.float64, **options):
    return losses.build(name, **{"classes": CLASSES, "dimensions": DIMENSIONS} | options).to(dtype)


def batch(images=11, seed=0, dtype=torch.float64):
    """Return embeddings of all classes, the last of which has a single image, labels, and ids with one repetition."""
    generator = torch.Generator().manual_seed(seed)
    z_BD = F.normalize(torch.randn(images, DIMENSIONS, generator=generator, dtype=torch.float64), dim=1)
    labels_B = torch.cat([torch.randint(CLASSES - 1, (images - 1,), generator=generator), torch.tensor([CLASSES - 1])])
    ids_B = torch.arange(images)
    same = (labels_B == labels_B[0]).nonzero()[:2, 0]
    ids_B[same] = 0
    return z_BD.to(dtype), labels_B, ids_B


def output_of(loss, z_BD, labels_B, ids_B=None):
    return loss(Selection(NoTriplets(ids_B), z_BD.detach()), z_BD, labels_B)


def vectors_of(loss):
    return loss.vector_CD.detach().tolist() if hasattr(loss, "vector_CD") else []


def slope_of_the_loops(name, options, loss, z_BD, labels_B, ids_B, direction_BD, turn_CD, step=1e-6):
    """Return the slope of the loops in one direction of the points and vectors; the weights of circle stay."""
    values = []
    for sign in (1, -1):
        points = (z_BD + sign * step * direction_BD).tolist()
        vectors = (loss.vector_CD.detach() + sign * step * turn_CD).tolist() if turn_CD is not None else []
        fixed = {"weighting": z_BD.tolist()}
        values.append(LABEL_ORACLES[name](points, labels_B.tolist(), ids_B.tolist(), vectors, **fixed | options))
    return (values[0] - values[1]) / (2 * step)


def test_every_loss_of_labels_has_cases_and_an_oracle():
    assert {name for name, _ in CASES} == set(LABEL_ORACLES) == set(LABEL_LOSSES) - {"softmax"}


@every_case
@pytest.mark.parametrize("repeats", [False, True])
def test_value_and_gradient_agree_with_the_loops(name, options, repeats):
    loss, (z_BD, labels_B, ids_B) = built(name, **options), batch()
    if not repeats:
        ids_B = torch.arange(len(labels_B))
    z_BD.requires_grad_()
    output = output_of(loss, z_BD, labels_B, ids_B if repeats else None)
    output.value.backward()
    expected = LABEL_ORACLES[name](
        z_BD.detach().tolist(), labels_B.tolist(), ids_B.tolist(), vectors_of(loss), **options
    )
    assert (output.value.dtype, output.value.shape, output.distances) == (torch.float64, (), None)
    assert output.value.item() == pytest.approx(expected, rel=1e-9)

    generator = torch.Generator().manual_seed(1)
    direction_BD = torch.randn(z_BD.shape, generator=generator).double()
    turn_CD = torch.randn(CLASSES, DIMENSIONS, generator=generator).double() if name in WITH_VECTORS else None
    slope = float((z_BD.grad * direction_BD).sum())
    if turn_CD is not None:
        slope += float((loss.vector_CD.grad * turn_CD).sum())
    measured = slope_of_the_loops(name, options, loss, z_BD.detach(), labels_B, ids_B, direction_BD, turn_CD)
    assert slope == pytest.approx(measured, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] != "circle"], ids=str)
def test_gradients_into_embeddings_and_vectors_pass_gradcheck(name, options):
    """Circle is excluded, because its weights have no gradient."""
    loss, (z_BD, labels_B, ids_B) = built(name, **options), batch(6)
    names = [name for name, _ in loss.named_parameters()]

    def value(z_BD, *parameters):
        inputs = (Selection(NoTriplets(ids_B), z_BD.detach()), z_BD, labels_B)
        return functional_call(loss, dict(zip(names, parameters, strict=True)), inputs).value

    assert gradcheck(value, (z_BD.requires_grad_(), *loss.parameters()))


def peer_of(name):
    """Return the loss of pytorch-metric-learning with the same definition, and the pairs that it takes."""
    return {
        "arcface": lambda: peers.ArcFaceLoss(CLASSES, DIMENSIONS, margin=math.degrees(0.5), scale=64),
        "circle": lambda: peers.CircleLoss(m=0.4, gamma=80),
        "multi_similarity": lambda: peers.MultiSimilarityLoss(alpha=2, beta=50, base=1),
        "proxy_anchor": lambda: peers.ProxyAnchorLoss(CLASSES, DIMENSIONS, margin=0.1, alpha=32),
        "supcon": lambda: peers.SupConLoss(temperature=0.1),
    }[name]()


@pytest.mark.parametrize(("name", "epsilon"), [*((name, None) for name in NAMES), ("multi_similarity", 0.1)])
def test_agrees_with_pytorch_metric_learning(name, epsilon):
    """The definitions coincide with these options; the README of the losses lists where they do not."""
    ours = built(name, torch.float32, **({"epsilon": epsilon} if epsilon else {}))
    theirs, (z_BD, labels_B, _) = peer_of(name), batch(24, dtype=torch.float32)
    if name == "arcface":
        theirs.W.data.copy_(ours.vector_CD.detach().T)
    elif name == "proxy_anchor":
        theirs.proxies.data.copy_(ours.vector_CD.detach())
    one_BD, other_BD = F.normalize(z_BD + 0.7 * z_BD[0], dim=1).requires_grad_(), None
    other_BD = one_BD.detach().clone().requires_grad_()
    pairs = None if epsilon is None else MultiSimilarityMiner(epsilon)(one_BD, labels_B)
    expected, output = theirs(one_BD, labels_B, pairs), output_of(ours, other_BD, labels_B)
    expected.backward()
    output.value.backward()
    torch.testing.assert_close(output.value, expected, rtol=1e-5, atol=1e-5)
    across_BD = one_BD.grad - (one_BD.grad * one_BD.detach()).sum(1, keepdim=True) * one_BD.detach()  # they normalize
    ours_BD = other_BD.grad - (other_BD.grad * other_BD.detach()).sum(1, keepdim=True) * other_BD.detach()
    torch.testing.assert_close(ours_BD, across_BD, rtol=1e-4, atol=1e-5)
    if epsilon is not None:
        assert 0.2 < output.statistics["informative_share"] < 0.9
    if hasattr(ours, "vector_CD"):
        theirs_CD = theirs.W.grad.T if name == "arcface" else theirs.proxies.grad
        torch.testing.assert_close(ours.vector_CD.grad, theirs_CD, rtol=1e-4, atol=1e-5)


def test_the_readme_says_where_the_definitions_differ():
    """Each row of the table is measured here, except those of the losses of triplets, which have tests of their own."""
    one_class = batch(4, dtype=torch.float32)[0], torch.zeros(4, dtype=torch.int64)
    assert peers.SupConLoss()(*one_class) == 0
    assert output_of(built("supcon"), *one_class).value > 1

    z_BD, labels_B = torch.eye(4).repeat_interleave(2, 0), torch.arange(4).repeat_interleave(2)
    z_BD[7] = F.normalize(torch.tensor([0.0, 0.0, 0.9, 1.0]), dim=0)
    ours = output_of(built("circle", torch.float32, gamma=400.0), z_BD, labels_B).value
    theirs = peers.CircleLoss(gamma=400)(z_BD, labels_B)
    assert theirs > 1.5 * ours > 0, "PML leaves out the images with a loss that is rounded to 0"

    assert peers.MultiSimilarityLoss().base == 0.5
    assert math.degrees(peers.ArcFaceLoss(2, 2).margin) == pytest.approx(28.6)


@pytest.mark.parametrize("margin", [0.0, 0.5, math.pi / 2])
def test_the_logit_of_arcface_falls_over_all_angles(margin):
    """The equation of the paper would rise again beyond θ + m = π; both libraries continue with cos θ − m sin m."""
    angles = torch.linspace(0.01, math.pi, 200, dtype=torch.float64)
    logits = with_margin(angles.cos(), margin)
    assert (logits.diff() < 0).all()
    within = angles + margin < math.pi
    torch.testing.assert_close(logits[within], (angles[within] + margin).cos())
    torch.testing.assert_close(logits[~within], angles[~within].cos() - margin * math.sin(margin))


geometry = st.sampled_from(["anywhere", "identical", "antipodal", "zero"])


@every_loss
@settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_options_and_any_batch_give_the_value_of_the_loops_and_finite_gradients(name, data):
    """Extreme scales, batches of one class or of images alone in their class, and vectors of norm 0 are included."""
    options = data.draw(st.fixed_dictionaries(OWN[name] | BASE), "options") | {"dimensions": DIMENSIONS}
    images, where, seed = data.draw(st.integers(1, 9)), data.draw(geometry), data.draw(st.integers(0, 2**31))
    dtype = data.draw(st.sampled_from([torch.bfloat16, torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(seed)
    x_BD = torch.randn(images, DIMENSIONS, generator=generator, dtype=torch.float64)
    if where in ("identical", "antipodal"):
        x_BD = x_BD[:1].expand(images, -1).clone()
    if where == "antipodal":
        x_BD *= torch.randint(2, (images, 1), generator=generator) * 2.0 - 1
    z_BD = F.normalize(x_BD, dim=1) * (where != "zero")
    labels_B = torch.randint(data.draw(st.integers(1, options["classes"])), (images,), generator=generator)
    ids_B = torch.randint(data.draw(st.integers(1, images)), (images,), generator=generator)

    loss, z_BD = losses.build(name, **options), z_BD.to(dtype).requires_grad_()
    value = output_of(loss, z_BD, labels_B, ids_B).value
    value.backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.isfinite() and value >= -1e-3 * abs(value)
    assert z_BD.grad.isfinite().all()
    assert all(each.grad.isfinite().all() for each in loss.parameters())
    if dtype == torch.float64 and name != "softmax" and options.get("epsilon") is None:
        points = z_BD.detach().tolist()
        expected = LABEL_ORACLES[name](points, labels_B.tolist(), ids_B.tolist(), vectors_of(loss), **options)
        # The sine of ArcFace is at least √ε, and at half a turn rounding decides which side is taken.
        slack = 1e-6 + (options["scale"] * 2.2e-8 if name == "arcface" else 0)
        near_pi = name == "arcface" and where == "antipodal"
        assert near_pi or value.item() == pytest.approx(expected, rel=1e-6, abs=slack)


@every_loss
def test_autocast_does_not_lower_the_precision(name):
    loss, (z_BD, labels_B, ids_B) = built(name, torch.float32), batch(dtype=torch.bfloat16)
    expected = output_of(loss, z_BD.float(), labels_B, ids_B).value
    with torch.autocast("cpu", torch.bfloat16):
        value = output_of(loss, z_BD, labels_B, ids_B).value
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@every_loss
def test_the_order_of_images_and_a_common_rotation_do_not_matter(name):
    loss, (z_BD, labels_B, ids_B) = built(name), batch()
    expected = output_of(loss, z_BD, labels_B, ids_B).value
    generator = torch.Generator().manual_seed(1)
    order_B = torch.randperm(len(z_BD), generator=generator)
    rotation_DD = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator).double()).Q
    if name in WITH_VECTORS:
        loss.vector_CD.data = 3 * loss.vector_CD.data @ rotation_DD
    value = output_of(loss, z_BD[order_B] @ rotation_DD, labels_B[order_B], ids_B[order_B]).value
    torch.testing.assert_close(value, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", OF_PAIRS)
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [2, 2, 2, 2]], ids=["alone", "one class"])
def test_an_image_without_both_kinds_of_pairs_has_only_the_terms_that_exist(name, labels):
    z_BD, labels_B = batch(4)[0].requires_grad_(), torch.tensor(labels)
    value = output_of(built(name), z_BD, labels_B).value
    value.backward()
    expected = LABEL_ORACLES[name](z_BD.detach().tolist(), labels, list(range(4)), [])
    assert value.item() == pytest.approx(expected, abs=1e-12)
    assert (value.item() > 0) == (name == "multi_similarity" or (name == "supcon" and labels[0] == 2))
    assert z_BD.grad.any() == (value > 0)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_a_repeated_image_is_no_positive_of_itself(name):
    """The sampler passes the ids on. With the copy as a positive, the loss would be another one."""
    z_BD, labels_B = batch(6)[0], torch.tensor([0, 0, 0, 1, 1, 1])
    z_BD[1] = z_BD[0]
    options = {"gamma": 1.0} if name == "circle" else {}
    ids_B, loss = torch.tensor([7, 7, 1, 2, 3, 4]), built(name, **options)
    with_ids, without = (samplers.build("none").mine(z_BD, labels_B, ids) for ids in (ids_B, None))
    assert torch.equal(with_ids.triplets.image_ids_B, ids_B)
    value = loss(with_ids, z_BD, labels_B).value
    expected = LABEL_ORACLES[name](z_BD.tolist(), labels_B.tolist(), ids_B.tolist(), [], **options)
    assert value.item() == pytest.approx(expected)
    assert abs(value - loss(without, z_BD, labels_B).value) > 1e-3


@every_loss
@pytest.mark.parametrize(
    ("labels_B", "message"),
    [
        (None, r"needs the integer labels \(B,\)"),
        (torch.zeros(11), r"needs the integer labels \(B,\)"),
        (torch.zeros(11, 1, dtype=torch.int64), r"needs the integer labels \(B,\)"),
        (torch.zeros(10, dtype=torch.int64), "one label per embedding, but got 10 for 11"),
    ],
)
def test_labels_that_are_none_of_the_batch_are_refused(name, labels_B, message):
    with pytest.raises(ValueError, match=message):
        output_of(built(name), batch()[0], labels_B)


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_a_label_without_a_vector_is_an_error(name):
    z_BD, labels_B, _ = batch()
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        output_of(built(name), z_BD, labels_B + 1)


@pytest.mark.parametrize("name", OF_PAIRS)
def test_ids_that_are_none_of_the_batch_are_refused(name):
    z_BD, labels_B, ids_B = batch()
    with pytest.raises(ValueError, match=r"one image id per embedding, but got \(5,\)"):
        output_of(built(name), z_BD, labels_B, ids_B[:5])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("multi_similarity", {"alpha": 0.0}, r"alpha from 1e-06 to 1e\+06, but it is 0\.0"),
        ("multi_similarity", {"beta": math.inf}, r"beta from 1e-06 to 1e\+06, but it is inf"),
        ("multi_similarity", {"threshold": 1.5}, r"threshold from -1 to 1, but it is 1\.5"),
        ("multi_similarity", {"epsilon": -0.1}, r"epsilon of 0 or more, or null .* but it is -0\.1"),
        ("proxy_anchor", {"margin": -0.1}, r"margin from 0 to 2, but it is -0\.1"),
        ("proxy_anchor", {"alpha": math.nan}, "alpha from .* but it is nan"),
        ("proxy_anchor", {"vector_lr": -1.0}, r"vector_lr of 0 or more, or null, but it is -1\.0"),
        ("arcface", {"vector_lr": float("inf")}, r"finite vector_lr of 0 or more, or null, but it is inf"),
        ("proxy_anchor", {"classes": None}, "one vector per class: give classes and dimensions"),
        ("arcface", {"margin": 28.6}, r"margin from 0 to 1\.5708, but it is 28\.6"),
        ("arcface", {"scale": 1e30}, r"scale from .* but it is 1e\+30"),
        ("arcface", {"dimensions": None}, "one vector per class: give classes and dimensions"),
        ("supcon", {"temperature": 0.0}, r"temperature above 0, but it is 0\.0"),
        ("circle", {"margin": 1.1}, r"margin from 0 to 1, but it is 1\.1"),
        ("circle", {"gamma": -80.0}, r"gamma from .* but it is -80\.0"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        built(name, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_learns_to_retrieve_images_of_its_training_classes(name, tmp_path):
    short = ("network.width=8", "trainer.max_steps=30", "trainer.val_check_interval=10", "metrics.floors=false")
    left = quick_run(tmp_path, f"loss={name}", "sampler=none", *short)
    first, *_, last = left.history
    assert last.validation["map@r"] > first.validation["map@r"] + 0.05
    assert last.train["loss"] < first.train["loss"]
    assert last.triplets == 0
    assert ("accuracy" in last.train) == (name in WITH_VECTORS)


@pytest.mark.slow
def test_a_resumed_run_has_the_vectors_of_a_run_without_interruption(tmp_path):
    options = ("loss=proxy_anchor", "sampler=none", "network.width=8", "metrics.floors=false")
    quick_run(tmp_path / "whole", *options)
    quick_run(tmp_path / "halves", *options, "trainer.max_steps=3", "schedule.steps=6")
    checkpoint = tmp_path / "halves/checkpoints/last.ckpt"
    quick_run(tmp_path / "halves", *options, f"resume={checkpoint}")
    whole, halves = (
        torch.load(tmp_path / each / "checkpoints/last.ckpt", weights_only=True) for each in ("whole", "halves")
    )
    vectors = "loss.vector_CD"
    module = build_module(compose(*options), build_datamodule(compose(*options)))
    assert not torch.equal(whole["state_dict"][vectors], module.loss.vector_CD)
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, halves["state_dict"][name]), name
    assert last_weights(tmp_path / "whole")
    groups = whole["optimizer_states"][0]["param_groups"]
    assert (groups[-1]["initial_lr"], groups[-1]["weight_decay"]) == (0.01, 0)
