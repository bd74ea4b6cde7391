"""What flows through a training step: the images of a batch, and the triplets chosen from it.

Shapes: B images, C channels, H × W pixels, T (anchor, positive) pairs, M negatives per pair, K images of a class,
R = K − 1.
"""

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
    """Indices (int64), one row per (anchor, positive) pair, into what `Sampler.pool` gives: the batch, as a rule."""

    anchor_T: Tensor
    positive_T: Tensor
    negative_TM: Tensor
    """M ≥ 1 negatives for each pair."""


class EveryTriplet(NamedTuple):
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
