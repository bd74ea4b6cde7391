"""Held-out images and classes depend on the table alone, not on a seed."""

import pytest
import torch

from siamese_lab.data.splits import hold_out_classes, hold_out_images
from siamese_lab.data.tables.image_table import ImageTable


def test_the_nth_image_of_each_class_is_held_out_in_order():
    labels_N = torch.tensor([0, 1, 0, 0, 1, 1, 0, 0, 0, 1])
    table = ImageTable(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1), labels_N, ("a", "b"))
    kept, held = hold_out_images(table, 3)
    assert held.images_NCHW.flatten().tolist() == [3, 5, 8]
    assert kept.images_NCHW.flatten().tolist() == [0, 1, 2, 4, 6, 7, 9]
    assert held.labels_N.tolist() == [0, 1, 0]
    assert held.class_names == ("a", "b")


def test_the_nth_class_is_held_out_from_the_largest_to_the_smallest():
    size_C = torch.tensor([1, 9, 2, 2, 1, 5, 2, 1])  # from the largest: 1, 5, 2, 3, 6, 0, 4, 7
    assert hold_out_classes(size_C, 3) == ([1, 3, 4, 5, 6, 7], [0, 2])
    assert hold_out_classes(size_C, 8) == ([0, 1, 2, 3, 4, 5, 6], [7])


def test_both_parts_have_classes_of_every_size_in_proportion():
    size_C = torch.arange(1, 8).repeat_interleave(torch.tensor([3000, 800, 300, 200, 80, 50, 20]))
    size_C = size_C[torch.randperm(len(size_C), generator=torch.Generator().manual_seed(0))]
    kept, held = hold_out_classes(size_C, 10)
    assert sorted(kept + held) == list(range(len(size_C)))
    share = size_C[held].bincount() / size_C.bincount().clamp(min=1)
    torch.testing.assert_close(share[1:], torch.full((7,), 0.1), atol=0.02, rtol=0)


@pytest.mark.parametrize("nth", [1, 0, -3])
def test_something_must_be_left(nth):
    with pytest.raises(ValueError, match=rf"data\.hold_out=.* at least 2, but is {nth}\."):
        hold_out_classes(torch.ones(5), nth)


def test_there_must_be_something_to_hold_out():
    with pytest.raises(ValueError, match=r"data\.hold_out=6 holds out one class in 6, but there are only 5 classes"):
        hold_out_classes(torch.ones(5), 6)
    table = ImageTable(torch.zeros(9, 1, 1, 1).byte(), torch.arange(9) // 5, ("a", "b"))
    with pytest.raises(ValueError, match=r"data\.hold_out=6 holds out one image in 6 of each class, but the"):
        hold_out_images(table, 6)
