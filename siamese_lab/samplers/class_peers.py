"""Who shares whose class in a batch: the positives of every anchor, from one sort of the labels.

Shapes: B images in the batch, R = K − 1 other images of a class (of the largest one, where classes are uneven).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ClassPeers(NamedTuple):
    """The other images of each image's class."""

    positive_BR: Tensor
    """int64: the r-th other image of the class, counted onwards from the image itself and around."""
    valid_BR: Tensor
    """bool: False where the class has fewer than r others (the index there means nothing)."""


def class_peers(labels_B: Tensor, images_per_class: int | None = None) -> ClassPeers:
    """List every anchor's positives.

    Args:
        labels_B: int64 class labels in any order.
        images_per_class: K, if every class of the batch has exactly that many. It makes the shapes known
            beforehand, so that a GPU need not wait for the host; without it the labels are counted.

    Raises:
        ValueError: if no class has two images, if there is only one class, or if K is not what the labels say
            (on a GPU the last two are device-side assertions).
    """
    order_B = labels_B.argsort(stable=True)
    sorted_B = labels_B[order_B]
    start_B = torch.searchsorted(sorted_B, labels_B)
    count_B = torch.searchsorted(sorted_B, labels_B, right=True) - start_B
    _check_counts(count_B, images_per_class)

    largest = images_per_class if images_per_class is not None else int(count_B.max())
    onwards_R = torch.arange(1, largest, device=labels_B.device)
    rank_B = order_B.argsort() - start_B
    place_BR = (rank_B[:, None] + onwards_R) % count_B[:, None]
    return ClassPeers(order_B[start_B[:, None] + place_BR], onwards_R < count_B[:, None])


def _check_counts(count_B: Tensor, images_per_class: int | None) -> None:
    if count_B.device.type != "cpu" and images_per_class is not None:
        torch._assert_async(((count_B == images_per_class) & (count_B < len(count_B))).all())
        return
    counts = set(count_B.tolist())
    if images_per_class is not None and counts != {images_per_class}:
        raise ValueError(
            f"The sampler was told that every class of a batch has {images_per_class} images, but there are "
            f"classes with {sorted(counts)}. Build it with images_per_class=None for uneven batches."
        )
    if max(counts) == len(count_B):
        raise ValueError(
            f"All {len(count_B)} images of the batch are of one class, so there are no negatives. "
            "Batches need at least 2 classes."
        )
    if max(counts) == 1:
        raise ValueError(
            f"Each of the {len(count_B)} images of the batch is alone in its class, so there are no positives. "
            "P×K batches need at least 2 images per class."
        )
