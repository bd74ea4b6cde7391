"""What is held out for validation, by stated rules: the same images for every seed and strategy."""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError


class ClassSplit(NamedTuple):
    """Two lists of classes that have none in common, each in ascending order."""

    kept: list[int]
    held: list[int]


def hold_out_images(table: ImageTable, nth: int) -> tuple[ImageTable, ImageTable]:
    """Part a table in two of the same classes: the second holds every `nth` image of each class.

    Raises:
        UserError: if `nth` leaves either without images.
    """
    check_nth(nth)
    order_N = table.labels_N.argsort(stable=True)
    size_C = table.labels_N.bincount(minlength=len(table.class_names))
    start_C = size_C.cumsum(0) - size_C
    rank_N = torch.empty_like(order_N)
    rank_N[order_N] = torch.arange(len(table)) - start_C[table.labels_N[order_N]]
    held_N = rank_N % nth == nth - 1
    if not held_N.any():
        raise UserError(
            f"data.hold_out={nth} holds out one image in {nth} of each class, but the largest has {int(size_C.max())}: "
            "lower it."
        )
    return table.rows((~held_N).nonzero().squeeze(1)), table.rows(held_N.nonzero().squeeze(1))


def hold_out_classes(size_C: Tensor, nth: int) -> ClassSplit:
    """Part classes in two: the second holds every `nth`, counted from the largest class to the smallest.

    So both have large and small classes in the same proportion. Classes of one size count in their own order.

    Raises:
        UserError: if `nth` leaves either without classes.
    """
    check_nth(nth)
    if len(size_C) < nth:
        raise UserError(f"data.hold_out={nth} holds out one class in {nth}, but there are {len(size_C)}: lower it.")
    order_C = size_C.argsort(descending=True, stable=True).tolist()
    held = order_C[nth - 1 :: nth]
    return ClassSplit(sorted(set(order_C) - set(held)), sorted(held))


def check_nth(nth: int) -> None:
    """Raise UserError for a share that would hold out everything or nothing."""
    if nth < 2:
        raise UserError(f"data.hold_out is 1 in how many to hold out for validation, at least 2, but is {nth}.")
