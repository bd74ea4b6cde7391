"""The values that flow through a training step: a batch, the selection from it, and the distances of its triplets.

Shapes: B images, C channels or candidates, H × W pixels, D embedding dimensions, T (anchor, positive) pairs, M
negatives per pair, K images of a class, R = K − 1.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """P classes × K images, as the data module yields them."""

    images_BCHW: Tensor
    """uint8 (0…255) before augmentation, float32 (0…1) after it."""
    labels_B: Tensor
    """int64, the class of each image."""
    image_ids_B: Tensor | None = None
    """int64, which image it is, where one may come twice: equal ones are never each other's positive and count once."""


class Triplets(NamedTuple):
    """Indices (int64) into `Selection.candidates_CD`, one row per (anchor, positive) pair."""

    anchor_T: Tensor
    positive_T: Tensor
    negative_TM: Tensor
    """M ≥ 1 negatives for each pair."""


class AllTriplets(NamedTuple):
    """Every valid triplet of a batch, unlisted: each (anchor, positive) pair with each image of another class."""

    positive_BR: Tensor
    """int64: the other images of each image's class."""
    valid_BR: Tensor
    """bool: whether the image and that other one are a pair."""
    own_BK: Tensor
    """int64: the images of each image's class, itself among them; one may come more than once."""
    negatives_B: Tensor
    """int64: how many images are of another class."""
    semi_hard: bool
    """Only those with d_ap < d_an < d_ap + margin, in the loss's own margin and distance."""

    def number(self) -> Tensor:
        """How many triplets there are, on the device."""
        return (self.valid_BR.sum(1) * self.negatives_B).sum()


NO_STATISTICS: Mapping[str, Tensor] = {}
"""A plain dictionary, as torch.compile does not take a mapping proxy in every step."""


class Selection(NamedTuple):
    """The result of mining one batch: all that a loss and an observer of the step need to know about it."""

    triplets: Triplets | AllTriplets
    candidates_CD: Tensor
    """Unit vectors that the indices of the triplets point into, without gradient: the batch, then remembered images."""
    fallback_TM: Tensor | None = None
    """bool: True where no candidate was eligible and the fallback chose; None where triplets are unlisted."""
    statistics: Mapping[str, Tensor] = NO_STATISTICS
    """Scalars that only this strategy reports, such as the stage of a curriculum."""

    def listed(self) -> Triplets:
        """Return the listed triplets.

        Raises:
            ValueError: if the triplets are unlisted.
        """
        if not isinstance(self.triplets, Triplets):
            raise ValueError(f"This needs listed triplets, but the sampler returned {type(self.triplets).__name__}.")
        return self.triplets


class PairDistances(NamedTuple):
    """Distances of the listed triplets: plain (0…2), unless squared ones were asked for."""

    d_ap_T1: Tensor
    d_an_TM: Tensor
