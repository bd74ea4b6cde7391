"""The contract of a loss: a finite scalar that back-propagates, of the precision of its embeddings.

Shapes: B images, D embedding dimensions, C candidates (the batch, then Q remembered images), T (anchor, positive)
pairs, M negatives per pair.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab import losses, samplers
from siamese_lab.batch import AllTriplets, NoTriplets, Selection, Triplets
from siamese_lab.contracts import check_config, composed
from siamese_lab.losses import LossOutput
from siamese_lab.registry import options_of

CLASSES, DIMENSIONS = 4, 8
BY_TRAINING = {"classes", "dimensions", "seed"}
"""Options that a run sets itself."""
NAMES = losses.available()
LISTED = [name for name in NAMES if Triplets in losses.registry.classes[name].accepted_types]
STRATEGIES: dict[type, str] = {Triplets: "random", AllTriplets: "all", NoTriplets: "none"}
"""A strategy that returns each type."""
every_loss = pytest.mark.parametrize("name", NAMES)
every_loss_of_listed_triplets = pytest.mark.parametrize("name", LISTED)


def build(name: str, **options: Any) -> losses.Loss:
    """Build a loss with the options of its YAML."""
    return losses.build(**composed("loss", name) | {"classes": CLASSES, "dimensions": DIMENSIONS} | options)


def a_selection(loss: losses.Loss, remembered: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    """Return a selection with its embeddings, which have a gradient, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels_B = torch.arange(CLASSES).repeat_interleave(3)
    x_CD = torch.randn(len(labels_B) + remembered, DIMENSIONS, generator=generator, dtype=dtype)
    unit_CD = F.normalize(x_CD, dim=1)
    z_BD = (unit_CD if loss.needs_unit_norm else x_CD)[: len(labels_B)].clone().requires_grad_()
    kind = next(name for each, name in STRATEGIES.items() if each in loss.accepted_types)
    selection = samplers.build(kind, num_negatives=2 if kind == "random" else 1).mine(
        unit_CD[: len(labels_B)].float(), labels_B
    )
    if remembered:
        triplets = selection.listed()
        negative_TM = torch.cat([triplets.negative_TM[:, :1], torch.full_like(triplets.negative_TM[:, :1], 12)], 1)
        selection = selection._replace(triplets=triplets._replace(negative_TM=negative_TM))
    return selection._replace(candidates_CD=unit_CD), z_BD, labels_B


def call(loss: losses.Loss, selection: Selection, z_BD: Tensor, labels_B: Tensor) -> LossOutput:
    """Compute the loss and check the form of its output."""
    output = loss(selection, z_BD, labels_B)
    assert isinstance(output, LossOutput), f"forward returns a LossOutput, but got {type(output).__name__}"
    assert output.value.shape == (), f"the value is a scalar, but has shape {tuple(output.value.shape)}"
    for figure, value in output.statistics.items():
        assert value.ndim == 0 and not value.requires_grad, f"the statistic {figure} is a scalar without gradient"
    if output.distances is not None:
        assert output.distances.d_an_TM.shape == selection.listed().negative_TM.shape
        assert all(not each.requires_grad and ((each >= 0) & (each <= 2.001)).all() for each in output.distances)
    return output


@every_loss
def test_its_config_chooses_it_by_name(name: str) -> None:
    check_config("loss", name, set(options_of(losses.registry.classes[name])) - BY_TRAINING)


@every_loss
def test_it_accepts_what_some_strategy_gives(name: str) -> None:
    accepted = losses.registry.classes[name].accepted_types
    assert accepted and set(accepted) <= {Triplets, AllTriplets, NoTriplets}


@every_loss
def test_it_gives_finite_gradients_to_embeddings_and_parameters(name: str) -> None:
    loss = build(name)
    selection, z_BD, labels_B = a_selection(loss)
    output = call(loss, selection, z_BD, labels_B)
    output.value.backward()
    assert output.value.isfinite()
    assert z_BD.grad is not None and z_BD.grad.isfinite().all() and z_BD.grad.any()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in loss.parameters())


@every_loss_of_listed_triplets
def test_remembered_candidates_are_compared_too(name: str) -> None:
    loss = build(name)
    if not loss.needs_unit_norm:
        pytest.skip("a memory keeps unit vectors")
    selection, z_BD, labels_B = a_selection(loss, remembered=1)
    value = call(loss, selection, z_BD, labels_B).value
    moved_CD = selection.candidates_CD.clone()
    moved_CD[-1] = -moved_CD[-1]
    assert call(loss, selection._replace(candidates_CD=moved_CD), z_BD, labels_B).value != value


@every_loss
def test_it_is_of_the_precision_of_the_embeddings_under_autocast_too(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        loss = build(name).to(dtype)
        if dtype == torch.float64 and not {Triplets, NoTriplets} & set(loss.accepted_types):
            continue
        inputs = a_selection(loss, dtype=dtype)
        expected = call(loss, *inputs).value
        with torch.autocast("cpu", torch.bfloat16):
            value = call(loss, *inputs).value
        assert value.dtype == expected.dtype == dtype
        assert torch.equal(value, expected)


@every_loss_of_listed_triplets
def test_without_triplets_it_is_finite_and_back_propagates(name: str) -> None:
    loss = build(name)
    selection, z_BD, labels_B = a_selection(loss)
    none_T, none_TM = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64)
    none = Triplets(none_T, none_T, none_TM)
    value = call(loss, selection._replace(triplets=none, fallback_TM=torch.zeros(0, 2).bool()), z_BD, labels_B).value
    value.backward()
    assert value.isfinite()
    assert z_BD.grad is None or z_BD.grad.isfinite().all()


@every_loss_of_listed_triplets
def test_coincident_images_have_finite_gradients(name: str) -> None:
    loss = build(name)
    selection, z_BD, labels_B = a_selection(loss)
    same_BD = z_BD.detach()[:1].expand_as(z_BD).clone().requires_grad_()
    loss(selection._replace(candidates_CD=same_BD.detach()), same_BD, labels_B).value.backward()
    assert same_BD.grad is not None and same_BD.grad.isfinite().all()
