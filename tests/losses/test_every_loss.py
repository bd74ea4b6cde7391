"""Every loss agrees with its oracle, has correct gradients and invariances, and is never NaN."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loss_oracles import ORACLES
from loss_outputs import output_of, value_of
from shipped import TRIPLET_LOSSES
from torch.autograd import gradcheck
from torch.func import functional_call

from siamese_lab import losses
from siamese_lab.batch import Selection, Triplets
from siamese_lab.losses.pairs import selected_distances

CLASSES = 3
CASES = [
    ("triplet", {}),
    ("triplet", {"soft": True, "margin": 0.5}),
    ("triplet", {"distance": "squared", "reduction": "mean_active", "margin": 0.7}),
    ("margin", {}),
    ("margin", {"beta_per_class": True, "classes": CLASSES, "beta": 0.9}),
    ("margin", {"distance": "squared", "margin": 0.4}),
    ("n_pair", {}),
    ("n_pair", {"temperature": 1.0, "l2_penalty": 0.1}),
    ("n_pair", {"temperature": 0.5, "expansion": 2}),
    ("contrastive", {}),
    ("contrastive", {"margin": 1.5, "reduction": "mean_active"}),
]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}{options}" for name, options in CASES])


def test_every_loss_has_cases_and_an_oracle():
    assert {name for name, _ in CASES} == set(ORACLES) == set(TRIPLET_LOSSES)


def batch(images=7, dimensions=5, pairs=11, negatives=2, seed=0, directions=None, dtype=torch.float64):
    """Return points, triplets without repeated images in a pair, and labels. Few `directions` make points coincide."""
    generator = torch.Generator().manual_seed(seed)
    x_BD = torch.randn(images, dimensions, generator=generator, dtype=torch.float64)
    if directions is not None:
        x_BD = x_BD[torch.randint(min(directions, images), (images,), generator=generator)]
    anchor_T1 = torch.randint(images, (pairs, 1), generator=generator)
    others_TM = (anchor_T1 + torch.randint(1, images, (pairs, 1 + negatives), generator=generator)) % images
    labels_B = torch.randint(CLASSES, (images,), generator=generator)
    return x_BD.to(dtype), Triplets(anchor_T1[:, 0], others_TM[:, 0], others_TM[:, 1:]), labels_B


def prepared(loss, x_BD):
    return F.normalize(x_BD, dim=1) if loss.needs_unit_norm else x_BD


def oracle_of(name, options, loss, x_BD, triplets, labels_B):
    rows = zip(triplets.anchor_T.tolist(), triplets.positive_T.tolist(), triplets.negative_TM.tolist(), strict=True)
    betas = loss.beta.tolist() if options.get("beta_per_class") else None
    points = prepared(loss, x_BD.double()).tolist()
    return ORACLES[name](points, list(rows), labels_B.tolist(), **{**options, "betas": betas})


def built(name, options, dtype=torch.float64):
    """Build a loss, with a different β for each class if it has one β per class."""
    loss = losses.build(name, **options).to(dtype)
    if options.get("beta_per_class"):
        loss.beta.data += torch.linspace(-0.2, 0.2, CLASSES, dtype=dtype)
    return loss


@every_case
@pytest.mark.parametrize("negatives", [1, 3])
def test_value_and_active_share_agree_with_the_loops(name, options, negatives):
    loss = built(name, options)
    x_BD, triplets, labels_B = batch(negatives=negatives)
    value, statistics, _ = output_of(loss, prepared(loss, x_BD), triplets, labels_B)
    expected, active = oracle_of(name, options, loss, x_BD, triplets, labels_B)
    assert (value.dtype, value.shape) == (torch.float64, ())
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert statistics["active_share"].item() == pytest.approx(active)


@every_case
def test_gradients_into_embeddings_and_parameters_pass_gradcheck(name, options):
    loss = built(name, options)
    x_BD, triplets, labels_B = batch()
    names = [name for name, _ in loss.named_parameters()]

    def value(x_BD, *parameters):
        state = dict(zip(names, parameters, strict=True))
        z_BD = prepared(loss, x_BD)
        return functional_call(loss, state, (Selection(triplets, z_BD.detach()), z_BD, labels_B)).value

    assert gradcheck(value, (x_BD.requires_grad_(), *loss.parameters()))


def counts_coincident_pairs(name, options):
    """Return whether rounding decides if a pair at distance 0 counts as active."""
    return name == "contrastive" and options.get("reduction") == "mean_active"


any_batch = st.fixed_dictionaries(
    {
        "images": st.integers(2, 9),
        "dimensions": st.sampled_from([2, 3, 16, 512]),
        "pairs": st.integers(0, 12),
        "negatives": st.integers(1, 4),
        "seed": st.integers(0, 2**31),
        "directions": st.one_of(st.none(), st.integers(1, 3)),
    }
)


@every_case
@settings(max_examples=40, deadline=None)
@given(shape=any_batch)
def test_any_batch_agrees_with_the_loops(name, options, shape):
    assume(not counts_coincident_pairs(name, options) or shape["directions"] is None)
    loss = built(name, options)
    x_BD, triplets, labels_B = batch(**shape)
    value = value_of(loss, prepared(loss, x_BD), triplets, labels_B)
    expected, _ = oracle_of(name, options, loss, x_BD, triplets, labels_B)
    assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@every_case
@settings(max_examples=40, deadline=None)
@given(shape=any_batch, dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_loss_and_gradients_are_finite_and_at_least_float32(name, options, shape, dtype):
    loss = built(name, options, torch.float32)
    x_BD, triplets, labels_B = batch(**shape, dtype=dtype)
    x_BD.requires_grad_()
    value, statistics, _ = output_of(loss, prepared(loss, x_BD), triplets, labels_B)
    value.backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.isfinite()
    assert value >= 0
    assert x_BD.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())
    assert 0 <= statistics["active_share"] <= 1


@every_case
@settings(max_examples=25, deadline=None)
@given(shape=any_batch)
def test_the_order_of_images_and_of_pairs_and_a_rotation_do_not_matter(name, options, shape):
    assume(not counts_coincident_pairs(name, options) or shape["directions"] is None)
    loss = built(name, options)
    x_BD, triplets, labels_B = batch(**shape)
    expected = value_of(loss, prepared(loss, x_BD), triplets, labels_B)

    generator = torch.Generator().manual_seed(shape["seed"])
    order_B = torch.randperm(len(x_BD), generator=generator)
    place_B = order_B.argsort()
    order_T = torch.randperm(len(triplets.anchor_T), generator=generator)
    moved = Triplets(*(place_B[index[order_T]] for index in triplets))
    rotation_DD = torch.linalg.qr(torch.randn(x_BD.shape[1], x_BD.shape[1], generator=generator).double()).Q
    value = value_of(loss, prepared(loss, x_BD[order_B] @ rotation_DD), moved, labels_B[order_B])
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"), [case for case in CASES if not {"l2_penalty", "expansion"} & case[1].keys()], ids=str
)
def test_images_outside_of_all_triplets_get_no_gradient(name, options):
    loss = built(name, options)
    x_BD, _, labels_B = batch()
    x_BD.requires_grad_()
    triplets = Triplets(*torch.tensor([[0], [2]]), torch.tensor([[3]]))
    value_of(loss, prepared(loss, x_BD), triplets, labels_B).backward()
    assert x_BD.grad[[0, 2, 3]].any()
    assert not x_BD.grad[[1, 4, 5, 6]].any()


@every_case
def test_without_triplets_the_loss_is_0_and_back_propagates(name, options):
    loss = built(name, options)
    x_BD, _, labels_B = batch()
    empty = Triplets(*torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, 2, dtype=torch.long))
    value = value_of(loss, prepared(loss, x_BD.requires_grad_()), empty, labels_B)
    value.backward()
    penalty = options.get("l2_penalty", 0) * x_BD.detach().square().sum(1).mean()
    assert value.item() == pytest.approx(float(penalty))
    assert x_BD.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(set(TRIPLET_LOSSES) - {"n_pair"}))
def test_no_active_term_is_exactly_0_and_back_propagates(name):
    """N-pair is excluded, because a cross-entropy is never 0."""
    z_BD = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = losses.build(name)
    triplets = Triplets(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([[2], [2]]))
    value, statistics, _ = output_of(loss, z_BD, triplets)
    value.backward()
    assert value.item() == 0
    assert statistics["active_share"].item() == 0
    assert torch.equal(z_BD.grad, torch.zeros(3, 2))
    assert all(not parameter.grad.any() for parameter in loss.parameters())


@every_case
def test_autocast_does_not_lower_the_precision(name, options):
    loss = built(name, options, torch.float32)
    x_BD, triplets, labels_B = batch(dtype=torch.float32)
    z_BD = prepared(loss, x_BD)
    expected = output_of(loss, z_BD, triplets, labels_B)
    with torch.autocast("cpu", torch.bfloat16):
        output = output_of(loss, z_BD, triplets, labels_B)
    assert torch.equal(output.value, expected.value)
    assert (output.distances is None) == (expected.distances is None)
    assert all(map(torch.equal, output.distances or (), expected.distances or ()))


@every_case
@settings(max_examples=25, deadline=None)
@given(shape=any_batch, remembered=st.integers(0, 3))
def test_reported_distances_equal_those_of_the_selection(name, options, shape, remembered):
    """Distances are plain, without gradient, and include remembered candidates; embeddings of any norm have none."""
    loss = built(name, options)
    images = shape["images"]
    remembered = remembered if loss.needs_unit_norm and loss.accepts_memory else 0
    x_CD, triplets, labels_C = batch(**{**shape, "images": images + remembered})
    in_batch_T = (triplets.anchor_T < images) & (triplets.positive_T < images)
    z_CD = prepared(loss, x_CD)
    selection = Selection(Triplets(*(index[in_batch_T] for index in triplets)), z_CD)
    reported = loss(selection, z_CD[:images].clone().requires_grad_(), labels_C[:images]).distances
    assert (reported is None) == (not loss.needs_unit_norm)
    if reported is None:
        return
    for ours, expected in zip(reported, selected_distances(selection), strict=True):
        assert not ours.requires_grad
        torch.testing.assert_close(ours, expected, atol=1e-7, rtol=1e-7)


def test_distances_of_a_selection_agree_with_loops():
    x_CD, triplets, _ = batch(negatives=3)
    z_CD = F.normalize(x_CD, dim=1)
    d_ap_T1, d_an_TM = selected_distances(Selection(triplets, z_CD))
    for place, (a, p, negatives) in enumerate(zip(*(index.tolist() for index in triplets), strict=True)):
        assert d_ap_T1[place].tolist() == pytest.approx([float((z_CD[a] - z_CD[p]).norm())])
        assert d_an_TM[place].tolist() == pytest.approx([float((z_CD[a] - z_CD[n]).norm()) for n in negatives])


@every_case
def test_a_call_does_not_change_the_loss(name, options):
    loss = built(name, options)
    before = dict(vars(loss))
    x_BD, triplets, labels_B = batch()
    output_of(loss, prepared(loss, x_BD), triplets, labels_B)
    assert vars(loss).keys() == before.keys()
    assert all(vars(loss)[key] is value for key, value in before.items())


@pytest.mark.slow
@every_case
def test_the_loss_compiles_as_one_graph(name, options):
    loss = built(name, options, torch.float32)
    backend = "aot_eager" if options else "inductor"  # the graph is the same, but inductor's kernels take long to build
    compiled = torch.compile(built(name, options, torch.float32), fullgraph=True, backend=backend)
    gradients = []
    for each in (loss, compiled):
        x_BD, triplets, labels_B = batch(dtype=torch.float32)
        value, statistics, pairs = output_of(each, prepared(loss, x_BD.requires_grad_()), triplets, labels_B)
        value.backward()
        gradients.append([value.detach(), x_BD.grad, *(parameter.grad for parameter in each.parameters())])
        gradients[-1] += [statistics["active_share"], *(pairs or ())]
    for expected, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
