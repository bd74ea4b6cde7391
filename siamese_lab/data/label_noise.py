"""Wrong labels among the training images: symmetric noise, drawn from the seed of the run.

Shapes: N images, M images of a part of them, B images at a time, C classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from siamese_lab.data.tables.base import BaseTable, Tag, select_classes
from siamese_lab.errors import UserError

STREAM = 0x6E6F697365
"""Added to the seed, so that the noise has other random numbers than the batches."""


def check_share(share: float) -> None:
    """Raise UserError unless a share of wrong labels is at least 0 and below 1."""
    if not 0 <= share < 1:
        raise UserError(f"data.label_noise must be at least 0 and below 1, but is {share}. A fifth is 0.2.")


def wrong_labels(labels_N: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Return labels with a share of wrong ones: each wrong label is one of the other classes, with equal probability.

    Args:
        labels_N: int64 labels, 0 to `classes` − 1.
        classes: C.
        share: at least 0 and below 1. The number of wrong labels is `share` × N, rounded to the nearest integer.
        seed: the same seed gives the same wrong labels.

    Raises:
        UserError: if the share is out of range, or there is no other class.

    >>> int((wrong_labels(torch.arange(10), 10, 0.2, seed=0) != torch.arange(10)).sum())
    2
    """
    check_share(share)
    number = round(share * len(labels_N))
    if not number:
        return labels_N
    if classes < 2:
        raise UserError(f"data.label_noise={share} needs at least 2 training classes, but there is {classes}.")
    generator = torch.Generator().manual_seed((seed + STREAM) % 2**63)
    changed_M = torch.randperm(len(labels_N), generator=generator)[:number]
    shift_M = torch.randint(1, classes, (number,), generator=generator)
    noisy_N = labels_N.clone()
    noisy_N[changed_M] = (labels_N[changed_M] + shift_M) % classes
    return noisy_N


@dataclass(frozen=True)
class NoisyTable:
    """Some images of a table with labels that may be wrong, and their true labels."""

    table: BaseTable
    """The images with their true labels."""
    row_N: Tensor
    """int64: the row of each image in `table`."""
    labels_N: Tensor
    """int64: the label of each image, right or wrong; an index into `class_names`."""
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def true_labels_N(self) -> Tensor:
        """Return the class of each image in `table`. Equal numbers mean one class; they do not index `class_names`."""
        return self.table.labels_N[self.row_N]

    def classes(self, keep: Sequence[int]) -> "NoisyTable":
        """Return a table of the images that are labeled as one of `keep`. Their labels become 0, 1, …"""
        index_M, labels_M, class_names = select_classes(self, keep)
        return NoisyTable(self.table, self.row_N[index_M], labels_M, class_names)

    def fetch(self, indices: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """Yield the images for each tensor of indices, together with its tag; see `BaseTable`."""
        return self.table.fetch((tag, self.row_N.index_select(0, index_B)) for tag, index_B in indices)

    def recorded(self, share: float) -> dict[str, Any]:
        """Return what results.json stores: the share, the number of images and the number of wrong labels."""
        names = self.table.class_names
        wrong = sum(
            names[true] != self.class_names[label]
            for true, label in zip(self.true_labels_N.tolist(), self.labels_N.tolist(), strict=True)
        )
        return {"share": share, "images": len(self), "changed": wrong}


def with_wrong_labels(table: BaseTable, share: float, seed: int) -> NoisyTable:
    """Return a table with wrong labels: see `wrong_labels`."""
    labels_N = wrong_labels(table.labels_N, len(table.class_names), share, seed)
    return NoisyTable(table, torch.arange(len(table)), labels_N, table.class_names)
