"""Rules that hold out validation data. The result is the same for every seed and strategy."""

from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError

DENOMINATOR = 1_000_000
"""Largest denominator of a validation fraction: the float 1/3 is exactly one third."""
SAMPLED_OF_CLASS = 4
"""Smallest number of images of a class in a sample of many classes."""
LEAST_CLASSES, LEAST_IMAGES = 2, 2
"""Smallest number of classes in a part, and of images in each of them. A query needs a positive and a negative."""


class ClassSplit(NamedTuple):
    """Two disjoint lists of classes, each in ascending order."""

    kept: list[int]
    held: list[int]


def hold_out_images(table: ImageTable, fraction: float) -> tuple[ImageTable, ImageTable]:
    """Split a table into two tables of the same classes. The second holds a fraction of the images of each class.

    Args:
        table: the images to split.
        fraction: above 0 and below 1: see `is_held_out`.

    Raises:
        UserError: if the fraction is out of range or holds out no image.
    """
    held_N = held_out_images(table.labels_N, fraction)
    return table.rows((~held_N).nonzero().squeeze(1)), table.rows(held_N.nonzero().squeeze(1))


def held_out_images(labels_N: Tensor, fraction: float) -> Tensor:
    """Return True for each held-out image, a fraction of the images of each class: see `hold_out_images`."""
    order_N = labels_N.argsort(stable=True)
    size_C = labels_N.bincount()
    start_C = size_C.cumsum(0) - size_C
    rank_N = torch.empty_like(order_N)
    rank_N[order_N] = torch.arange(len(labels_N)) - start_C[labels_N[order_N]]
    held_N = is_held_out(rank_N, fraction)
    if not held_N.any():
        raise UserError(
            f"data.validation_fraction={fraction} holds out no image, because the largest class has only "
            f"{int(size_C.max())} images. Raise data.validation_fraction."
        )
    return held_N


def hold_out_classes(size_C: Tensor, fraction: float) -> ClassSplit:
    """Split classes into two lists. The second holds a fraction of the classes, large and small ones alike.

    The classes are ordered from the largest to the smallest, and `is_held_out` selects evenly from this order. Both
    lists therefore have the same proportion of large and small classes. Classes of equal size keep their order.

    Raises:
        UserError: if the fraction is out of range or holds out no class.
    """
    order_C = size_C.argsort(descending=True, stable=True)
    held_C = is_held_out(torch.arange(len(size_C)), fraction)
    if not held_C.any():
        raise UserError(
            f"data.validation_fraction={fraction} holds out no class, because there are only {len(size_C)} classes. "
            "Raise data.validation_fraction."
        )
    return ClassSplit(sorted(order_C[~held_C].tolist()), sorted(order_C[held_C].tolist()))


def is_held_out(rank_N: Tensor, fraction: float) -> Tensor:
    """Return which positions of an order are held out: evenly spaced ones, at the given fraction.

    The number of held-out items among the first n is n × fraction, rounded down. A fraction of 1/n therefore holds out
    every nth item: 0.1 holds out the 10th, the 20th, and so on.

    Args:
        rank_N: int64 positions, from 0.
        fraction: above 0 and below 1.

    Returns:
        Booleans (N,).

    Raises:
        UserError: if the fraction is not above 0 and below 1.

    >>> is_held_out(torch.arange(10), 0.3).nonzero().flatten().tolist()
    [3, 6, 9]
    """
    held, of = checked_ratio(fraction).as_integer_ratio()
    return (rank_N + 1) * held // of > rank_N * held // of


def checked_ratio(fraction: float) -> Fraction:
    """Return a validation fraction as the nearest ratio of integers with a denominator of at most a million.

    Raises:
        UserError: if the fraction is not above 0 and below 1.
    """
    ratio = Fraction(fraction).limit_denominator(DENOMINATOR) if 0 < fraction < 1 else Fraction(0)
    if not 0 < ratio < 1:
        raise UserError(f"data.validation_fraction must be above 0 and below 1, but is {fraction}. One in ten is 0.1.")
    return ratio


def balanced_sample(labels_N: Tensor, images: int) -> Tensor:
    """Draw images for a quick validation, as equally from all classes as their sizes allow, with a fixed seed.

    If there are more classes than a quarter of the images, some classes are drawn, so that each has four images.

    Args:
        labels_N: the class of each image.
        images: the number of images to draw; all are taken if there are fewer.

    Returns:
        Rows (M,) in ascending order, int64.

    Raises:
        UserError: if `images` gives fewer than two classes of four images.
    """
    if images < LEAST_CLASSES * SAMPLED_OF_CLASS:
        raise UserError(
            f"data.validation_images must be at least {LEAST_CLASSES * SAMPLED_OF_CLASS}, or null for all images, but "
            f"is {images}."
        )
    if images >= len(labels_N):
        return torch.arange(len(labels_N))
    generator = torch.Generator().manual_seed(0)
    random_N = torch.randperm(len(labels_N), generator=generator)
    order_N = random_N[labels_N[random_N].argsort(stable=True)]  # by class, in a random order within each class
    size_C = labels_N.bincount()
    start_C = size_C.cumsum(0) - size_C
    rank_N = torch.arange(len(order_N)) - start_C[labels_N[order_N]]
    place_C = torch.empty_like(size_C)  # classes with one image are no help: they have no positive
    place_C[torch.randperm(len(size_C), generator=generator)] = torch.arange(len(size_C))
    place_C[size_C < LEAST_IMAGES] += len(size_C)
    chosen_C = torch.zeros(len(size_C), dtype=torch.bool)
    chosen_C[place_C.argsort()[: images // SAMPLED_OF_CLASS]] = True
    rank_N[~chosen_C[labels_N[order_N]]] += len(labels_N)  # after all images of the chosen classes
    return order_N[rank_N.argsort(stable=True)[:images]].sort().values


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
