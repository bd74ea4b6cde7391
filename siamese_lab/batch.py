"""What flows through a training step: the images of a batch, and the triplets chosen from it.

Shapes: B images, C channels, H × W pixels, T (anchor, positive) pairs, M negatives per pair.
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
    """int64, which image it is, where one may come twice in a batch: equal ones are never each other's positive."""


class Triplets(NamedTuple):
    """Indices (int64) into a batch; one row per (anchor, positive) pair."""

    anchor_T: Tensor
    positive_T: Tensor
    negative_TM: Tensor
    """M ≥ 1 negatives for each pair."""
