"""The softmax loss learns one vector per class from labels, and uses no triplets."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import compose, quick_run
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_oracles import softmax
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from torch.autograd import gradcheck
from torch.func import functional_call

from siamese_lab import losses
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.training.build import build_datamodule, build_module

CLASSES, DIMENSIONS = 5, 6


def built(dtype=torch.float64, **options):
    return losses.build("softmax", classes=CLASSES, dimensions=DIMENSIONS, **options).to(dtype)


def batch(images=9, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x_BD = torch.randn(images, DIMENSIONS, generator=generator, dtype=torch.float64)
    return F.normalize(x_BD, dim=1).to(dtype), torch.randint(CLASSES, (images,), generator=generator)


def output_of(loss, z_BD, labels_B):
    return loss(Selection(NoTriplets(), z_BD.detach()), z_BD, labels_B)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_value_and_accuracy_agree_with_the_loops(temperature):
    loss, (z_BD, labels_B) = built(temperature=temperature), batch()
    value, statistics, distances = output_of(loss, z_BD, labels_B)
    expected, accuracy = softmax(z_BD.tolist(), labels_B.tolist(), loss.vector_CD.tolist(), temperature)
    assert (value.dtype, value.shape, distances) == (torch.float64, (), None)
    assert value.item() == pytest.approx(expected, rel=1e-9)
    assert statistics["accuracy"].item() == pytest.approx(accuracy)


def test_agrees_with_pytorch_metric_learning():
    ours, (z_BD, labels_B) = built(torch.float32), batch(dtype=torch.float32)
    theirs = NormalizedSoftmaxLoss(CLASSES, DIMENSIONS, temperature=0.05)
    theirs.W.data.copy_(ours.vector_CD.detach().T)
    one_BD, other_BD = z_BD.clone().requires_grad_(), z_BD.clone().requires_grad_()
    expected, value = theirs(one_BD, labels_B), output_of(ours, other_BD, labels_B).value
    expected.backward()
    value.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(ours.vector_CD.grad, theirs.W.grad.T)


def test_gradients_into_embeddings_and_vectors_pass_gradcheck():
    loss, (z_BD, labels_B) = built(temperature=0.5), batch()

    def value(z_BD, vector_CD):
        state = {"vector_CD": vector_CD}
        return functional_call(loss, state, (Selection(NoTriplets(), z_BD.detach()), z_BD, labels_B)).value

    assert gradcheck(value, (z_BD.requires_grad_(), loss.vector_CD))


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(1, 12),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_any_batch_gives_a_finite_loss_of_at_least_float32(images, seed, dtype):
    loss, (z_BD, labels_B) = built(torch.float32), batch(images, seed, dtype)
    value = output_of(loss, z_BD.requires_grad_(), labels_B).value
    value.backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.isfinite()
    assert value >= 0
    assert z_BD.grad.isfinite().all()
    assert loss.vector_CD.grad.isfinite().all()


def test_the_order_of_images_and_a_common_rotation_do_not_matter():
    loss, (z_BD, labels_B) = built(), batch()
    expected = output_of(loss, z_BD, labels_B).value
    rotation_DD = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=torch.Generator().manual_seed(1))).Q
    rotation_DD = rotation_DD.double()
    order_B = torch.randperm(len(z_BD), generator=torch.Generator().manual_seed(2))
    loss.vector_CD.data = 3 * loss.vector_CD.data @ rotation_DD  # the norm of a vector does not matter either
    value = output_of(loss, z_BD[order_B] @ rotation_DD, labels_B[order_B]).value
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("z_BD", "vector_CD", "expected"),
    [
        (torch.ones(4, DIMENSIONS), torch.ones(CLASSES, DIMENSIONS), math.log(CLASSES)),  # everything coincides
        (torch.ones(4, DIMENSIONS), torch.zeros(CLASSES, DIMENSIONS), math.log(CLASSES)),  # vectors without direction
    ],
)
def test_degenerate_batches_have_the_loss_of_chance_and_finite_gradients(z_BD, vector_CD, expected):
    loss = built(torch.float32)
    loss.vector_CD.data = vector_CD.clone()
    z_BD = F.normalize(z_BD, dim=1).requires_grad_()
    value = output_of(loss, z_BD, torch.tensor([0, 1, 1, 4])).value
    value.backward()
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert z_BD.grad.isfinite().all()
    assert loss.vector_CD.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision():
    loss, (z_BD, labels_B) = built(torch.float32), batch(dtype=torch.float32)
    expected = output_of(loss, z_BD, labels_B).value
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(output_of(loss, z_BD, labels_B).value, expected)


def test_initial_vectors_are_unit_vectors_of_the_seed():
    one, same, other = (built(seed=seed).vector_CD for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.norm(dim=1).tolist() == pytest.approx([1.0] * CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"softmax loss needs a temperature above 0, but it is 0\.0"),
        ({"temperature": math.inf}, "needs a finite temperature above 0, but it is inf"),
        ({"temperature": 1e-30}, "temperature of at least 1e-06, but it is 1e-30"),
        ({"vector_lr": -0.1}, r"needs a finite vector_lr of 0 or more, or null, but it is -0\.1"),
        ({"classes": None}, "one vector per class: give classes and dimensions"),
        ({"dimensions": None}, "one vector per class: give classes and dimensions"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        losses.build("softmax", **{"classes": CLASSES, "dimensions": DIMENSIONS} | options)


def test_labels_are_required():
    with pytest.raises(ValueError, match=r"needs the integer labels \(B,\) of the batch"):
        output_of(built(), batch()[0], None)


SOFTMAX = ("loss=softmax", "sampler=none")


@pytest.mark.slow
def test_a_run_learns_the_vectors_of_its_training_classes(tmp_path):
    """The checkpoint holds the vectors, and one learning rate each for network and vectors."""
    left = quick_run(tmp_path, *SOFTMAX, "loss.vector_lr=0.02", "optimizer.lr=0.001", "trainer.max_steps=30")
    config = compose(*SOFTMAX)
    initial = build_module(config, build_datamodule(config)).loss.vector_CD
    stored = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    vector_CD = stored["state_dict"]["loss.vector_CD"]
    assert vector_CD.shape == (left.classes["train"]["classes"], left.choices["network"]["embedding_dim"])
    assert not torch.equal(vector_CD, initial)
    groups = stored["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [0.001, 0.001, 0.02]
    assert groups[-1]["weight_decay"] == 0
    assert left.history[-1].triplets == 0
    assert left.history[-1].train["accuracy"] > 0.5
    assert "d_ap_mean" not in left.history[-1].train
