"""Held-out images and classes depend on the table alone, not on a seed."""

import pytest
import torch

from siamese_lab.data.splits import (
    balanced_sample,
    check_evaluated_part,
    hold_out_classes,
    hold_out_images,
    is_held_out,
)
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError


def test_the_nth_image_of_each_class_is_held_out_in_order():
    labels_N = torch.tensor([0, 1, 0, 0, 1, 1, 0, 0, 0, 1])
    table = ImageTable(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1), labels_N, ("a", "b"))
    kept, held = hold_out_images(table, 1 / 3)
    assert held.images_NCHW.flatten().tolist() == [3, 5, 8]
    assert kept.images_NCHW.flatten().tolist() == [0, 1, 2, 4, 6, 7, 9]
    assert held.labels_N.tolist() == [0, 1, 0]
    assert held.class_names == ("a", "b")


def test_the_nth_class_is_held_out_from_the_largest_to_the_smallest():
    size_C = torch.tensor([1, 9, 2, 2, 1, 5, 2, 1])  # by decreasing size: 1, 5, 2, 3, 6, 0, 4, 7
    assert hold_out_classes(size_C, 1 / 3) == ([1, 3, 4, 5, 6, 7], [0, 2])
    assert hold_out_classes(size_C, 1 / 8) == ([0, 1, 2, 3, 4, 5, 6], [7])


def test_both_parts_have_classes_of_every_size_in_proportion():
    size_C = torch.arange(1, 8).repeat_interleave(torch.tensor([3000, 800, 300, 200, 80, 50, 20]))
    size_C = size_C[torch.randperm(len(size_C), generator=torch.Generator().manual_seed(0))]
    kept, held = hold_out_classes(size_C, 0.1)
    assert sorted(kept + held) == list(range(len(size_C)))
    share = size_C[held].bincount() / size_C.bincount().clamp(min=1)
    torch.testing.assert_close(share[1:], torch.full((7,), 0.1), atol=0.02, rtol=0)


@pytest.mark.parametrize("nth", range(2, 101))
def test_a_fraction_of_one_in_n_holds_out_every_nth(nth):
    rank_N = torch.arange(10_000)
    assert torch.equal(is_held_out(rank_N, 1 / nth), rank_N % nth == nth - 1)


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_fraction_is_held_out_of_every_first_part_rounded_down(percent):
    held_N = is_held_out(torch.arange(1000), percent / 100)
    assert held_N.cumsum(0).tolist() == [count * percent // 100 for count in range(1, 1001)]


@pytest.mark.parametrize("fraction", [1, 0, -3, 10, 1.5, 1 - 1e-9, 1e-9, float("nan"), float("inf")])
def test_a_fraction_out_of_range_is_refused(fraction):
    message = rf"data\.validation_fraction must be above 0 and below 1, but is {fraction}\."
    with pytest.raises(ValueError, match=message):
        hold_out_classes(torch.ones(5), fraction)
    table = ImageTable(torch.zeros(9, 1, 1, 1).byte(), torch.arange(9) // 5, ("a", "b"))
    with pytest.raises(ValueError, match=message):
        hold_out_images(table, fraction)


def test_a_fraction_that_holds_out_nothing_is_refused():
    with pytest.raises(ValueError, match=r"validation_fraction=0\.16 holds out no class, .* only 5 classes"):
        hold_out_classes(torch.ones(5), 0.16)
    table = ImageTable(torch.zeros(9, 1, 1, 1).byte(), torch.arange(9) // 5, ("a", "b"))
    with pytest.raises(ValueError, match=r"validation_fraction=0\.16 holds out no image, .* only 5 images"):
        hold_out_images(table, 0.16)


@pytest.mark.parametrize(("labels", "enough"), [([0, 0, 0], 1), ([0, 1, 2], 0), ([0, 0, 1], 1), ([0, 0, 1, 1], 2)])
def test_a_part_that_is_evaluated_has_two_classes_of_two_images(labels, enough):
    table = ImageTable(torch.zeros(len(labels), 1, 1, 1).byte(), torch.tensor(labels), ("a", "b", "c"))
    if enough == 2:
        check_evaluated_part("Pets", "validation", table)
        return
    facts = rf"validation part of Pets needs at least 2 classes of 2 images .* has {enough} \({len(labels)} images of 3"
    with pytest.raises(ValueError, match=facts):
        check_evaluated_part("Pets", "validation", table)


def test_a_sample_has_equal_numbers_of_every_class_as_far_as_the_sizes_allow():
    labels_N = torch.tensor([0] * 50 + [1] * 3 + [2] * 40).roll(7)
    rows_M = balanced_sample(labels_N, 23)
    assert labels_N[rows_M].bincount().tolist() == [10, 3, 10]
    assert rows_M.equal(rows_M.unique()), "ascending, and no image twice"
    assert rows_M.equal(balanced_sample(labels_N, 23)), "the same sample for every run"
    assert not rows_M.equal(
        torch.cat([labels_N.eq(label).nonzero()[:count, 0] for label, count in enumerate([10, 3, 10])]).sort().values
    ), "not the first images of each class"


def test_a_sample_of_many_classes_takes_four_images_of_some():
    """Classes of one image come last, because they have no positive."""
    labels_N = torch.cat([torch.arange(50).repeat_interleave(6), torch.arange(50, 150)])
    counts_C = labels_N[balanced_sample(labels_N, 40)].bincount(minlength=150)
    assert sorted(counts_C[counts_C > 0].tolist()) == [4] * 10
    assert counts_C[50:].sum() == 0


def test_a_small_set_is_its_own_sample():
    labels_N = torch.tensor([0, 1, 0, 1, 2])
    assert balanced_sample(labels_N, 8).tolist() == [0, 1, 2, 3, 4]


def test_a_sample_of_less_than_two_classes_is_refused():
    with pytest.raises(UserError, match=r"data\.validation_images must be at least 8.* is 7"):
        balanced_sample(torch.arange(20) % 2, 7)
