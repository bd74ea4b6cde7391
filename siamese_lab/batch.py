"""The values that flow through a training step: a batch, the selection from it, and the distances of its triplets.

Shapes: B images, C channels or candidates, H × W pixels, D embedding dimensions, T (anchor, positive) pairs, M
negatives per pair, K images of a class, R = K − 1, P positive pairs and N negative pairs that were selected as pairs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """A batch of P classes × K images, as the datamodule yields it."""

    images_BCHW: Tensor
    """uint8 (0…255) before augmentation, float32 (0…1) after it."""
    labels_B: Tensor
    """int64, the class of each image."""
    image_ids_B: Tensor | None = None
    """int64, the identity of each image; None if no image can occur twice.

    Images with equal ids are never each other's positive and count once.
    """
    true_labels_B: Tensor | None = None
    """int64: equal numbers mean one true class; None unless training labels may be wrong (`data.label_noise`)."""


class Triplets(NamedTuple):
    """Indices (int64) into `Selection.candidates_CD`, one row per (anchor, positive) pair."""

    anchor_T: Tensor
    positive_T: Tensor
    negative_TM: Tensor
    """M ≥ 1 negatives for each pair."""


class AllTriplets(NamedTuple):
    """All valid triplets of a batch, not listed: each (anchor, positive) pair with each image of another class."""

    positive_BR: Tensor
    """int64: the other images of each image's class."""
    valid_BR: Tensor
    """bool: True if the image and that other image are a pair."""
    own_BK: Tensor
    """int64: the images of each image's class, including the image itself; an image may occur more than once."""
    negatives_B: Tensor
    """int64: number of images of other classes."""
    semi_hard: bool
    """True if only triplets with d_ap < d_an < d_ap + margin count, in the loss's own margin and distance."""

    def number(self) -> Tensor:
        """Return the number of triplets, as a tensor on the device."""
        return (self.valid_BR.sum(1) * self.negatives_B).sum()


class NoTriplets(NamedTuple):
    """The selection of a strategy that selects nothing, for losses that use labels only."""

    image_ids_B: Tensor | None = None
    """int64, the identity of each image, as in `Batch`; None if no image can occur twice."""

    def number(self) -> Tensor:
        """Return 0, the number of triplets."""
        return torch.zeros((), dtype=torch.int64)


NO_STATISTICS: Mapping[str, Tensor] = {}
"""An empty plain dictionary, because torch.compile does not accept a mapping proxy in every step."""


class Pairs(NamedTuple):
    """Pairs of the batch that were selected one by one, not as triplets (int64)."""

    anchor_P: Tensor
    positive_P: Tensor
    anchor_N: Tensor
    negative_N: Tensor


class Selection(NamedTuple):
    """The result of mining one batch: everything that a loss and an observer of the step need."""

    triplets: Triplets | AllTriplets | NoTriplets
    candidates_CD: Tensor
    """Unit vectors without gradient: the batch, then remembered images. The triplets hold indices of its rows."""
    fallback_TM: Tensor | None = None
    """bool: True where no candidate was eligible and the fallback chose; None if triplets are not listed."""
    statistics: Mapping[str, Tensor] = NO_STATISTICS
    """Scalars that only this strategy reports, such as the stage of a curriculum."""
    pairs: Pairs | None = None
    """The pairs of a strategy that selects pairs, whose triplets combine the pairs of each anchor; None otherwise."""

    def listed(self) -> Triplets:
        """Return the listed triplets.

        Raises:
            ValueError: if the triplets are not listed.
        """
        if not isinstance(self.triplets, Triplets):
            raise ValueError(f"Expected listed Triplets, but the sampler returned {type(self.triplets).__name__}.")
        return self.triplets


class PairDistances(NamedTuple):
    """Distances of the listed triplets: plain (0…2), unless squared distances (0…4) were requested."""

    d_ap_T1: Tensor
    d_an_TM: Tensor
