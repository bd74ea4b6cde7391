"""Embedding expansion finds the most similar point near a negative, and refuses what it cannot expand."""

import pytest
import torch
import torch.nn.functional as F
from loss_oracles import most_similar
from loss_outputs import value_of

from siamese_lab import losses
from siamese_lab.batch import Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.losses.expansion import expanded_similarities

LABELS = torch.tensor([0, 0, 1, 1, 1, 2])


def embeddings(seed=0):
    x_BD = torch.randn(len(LABELS), 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(x_BD, dim=1)


@pytest.mark.parametrize("points", [0, 1, 2, 5])
def test_every_entry_agrees_with_the_loops(points):
    z_BD = embeddings()
    found = expanded_similarities(z_BD, LABELS, points)
    rows, labels = z_BD.tolist(), LABELS.tolist()
    expected = [[most_similar(rows, labels, a, n, points) for n in range(len(LABELS))] for a in range(len(LABELS))]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_class_of_one_image_has_nothing_to_expand():
    z_BD = embeddings()
    torch.testing.assert_close(expanded_similarities(z_BD, LABELS, 3)[:, 5], z_BD @ z_BD[5])


def test_a_point_between_two_negatives_is_nearer_than_both():
    z_BD = F.normalize(torch.tensor([[0.0, 1.0], [1.0, 0.5], [-1.0, 0.5]]), dim=1)
    expanded = expanded_similarities(z_BD, torch.tensor([0, 1, 1]), 1)
    assert expanded[0, 1] == pytest.approx(1.0)
    assert (z_BD[0] @ z_BD[1]).item() < 0.5


def test_opposite_images_of_a_class_give_finite_gradients():
    z_BD = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    expanded_similarities(z_BD, torch.tensor([0, 1, 1]), 1).sum().backward()
    assert z_BD.grad.isfinite().all()


def test_both_ends_of_the_line_learn():
    x_BD = embeddings().requires_grad_()
    triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    value_of(losses.build("n_pair", expansion=4), F.normalize(x_BD, dim=1), triplets, LABELS).backward()
    moved = x_BD.grad.any(1).tolist()
    assert moved[:3] == [True, True, True]
    assert any(moved[3:5])
    assert not moved[5]


@pytest.mark.parametrize("options", [{"expansion": -1}, {"expansion": 1, "l2_penalty": 0.1}])
def test_options_without_a_meaning_are_refused(options):
    with pytest.raises(UserError, match="needs an expansion of 0 or more points, and 0 with an l2_penalty"):
        losses.build("n_pair", **options)


def test_a_memory_is_refused():
    loss, z_BD = losses.build("n_pair", expansion=1), embeddings()
    assert not loss.accepts_memory
    triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    with pytest.raises(UserError, match=r"expands the batch alone\. Set loss\.expansion=0"):
        loss(Selection(triplets, torch.cat([z_BD, z_BD])), z_BD, LABELS)
