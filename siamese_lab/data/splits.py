"""Rules that hold out validation data. The result is the same for every seed and strategy."""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError

LEAST_CLASSES, LEAST_IMAGES = 2, 2
"""Smallest number of classes in a part, and of images in each of them. A query needs a positive and a negative."""


class ClassSplit(NamedTuple):
    """Two disjoint lists of classes, each in ascending order."""

    kept: list[int]
    held: list[int]


def hold_out_images(table: ImageTable, nth: int) -> tuple[ImageTable, ImageTable]:
    """Split a table into two tables of the same classes. The second holds every `nth` image of each class.

    Raises:
        UserError: if `nth` leaves one of the tables without images.
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
            f"data.hold_out={nth} holds out one image in {nth} of each class, but the largest class has only "
            f"{int(size_C.max())} images. Lower data.hold_out."
        )
    return table.rows((~held_N).nonzero().squeeze(1)), table.rows(held_N.nonzero().squeeze(1))


def hold_out_classes(size_C: Tensor, nth: int) -> ClassSplit:
    """Split classes into two lists. The second holds every `nth` class, counted from the largest to the smallest.

    Both lists therefore have the same proportion of large and small classes. Classes of equal size keep their order.

    Raises:
        UserError: if `nth` leaves one of the lists without classes.
    """
    check_nth(nth)
    if len(size_C) < nth:
        raise UserError(
            f"data.hold_out={nth} holds out one class in {nth}, but there are only {len(size_C)} classes. "
            "Lower data.hold_out."
        )
    order_C = size_C.argsort(descending=True, stable=True).tolist()
    held = order_C[nth - 1 :: nth]
    return ClassSplit(sorted(set(order_C) - set(held)), sorted(held))


def check_evaluated_part(title: str, part: str, table: BaseTable) -> None:
    """Raise UserError if a part of a data set has too few classes for figures that mean something.

    With a single class, every network has a Recall@1 of 100%.

    Args:
        title: name of the data set.
        part: name of the part: "validation".
        table: images of the part.
    """
    size_C = table.labels_N.bincount(minlength=len(table.class_names))
    enough = int((size_C >= LEAST_IMAGES).sum())
    if enough < LEAST_CLASSES:
        raise UserError(
            f"The {part} part of {title} needs at least {LEAST_CLASSES} classes of {LEAST_IMAGES} images or more, but "
            f"has {enough} ({len(table):,} images of {len(size_C):,} classes), so its figures would have no meaning. "
            f"Add images, or change the options of data that decide how much is held out for {part}."
        )


def check_nth(nth: int) -> None:
    """Raise UserError if `nth` would hold out everything or nothing."""
    if nth < 2:
        raise UserError(f"data.hold_out=N holds out one in N for validation and must be at least 2, but is {nth}.")
