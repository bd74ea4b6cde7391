"""The positions of the images of each class, as three arrays built in linear time.

Shapes: N images, C classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ClassOffsets(NamedTuple):
    """The images sorted by class, with the start and the size of each class; int32 if the counts fit, else int64."""

    order_N: Tensor
    start_C: Tensor
    size_C: Tensor

    def image(self, classes_R1: Tensor, rank_RK: Tensor) -> Tensor:
        """Return the image number (int64) at position `rank` within each class."""
        place_RK = self.start_C[classes_R1] + rank_RK
        return self.order_N.index_select(0, place_RK.flatten()).view_as(place_RK).long()


def class_offsets(labels_N: Tensor, class_count: int) -> ClassOffsets:
    """Sort the images by class, and the images of one class by number."""
    size_C = labels_N.bincount(minlength=class_count)
    fits = torch.int32 if len(labels_N) < 2**31 else torch.int64
    if bool((labels_N[1:] >= labels_N[:-1]).all()):
        order_N = torch.arange(len(labels_N), dtype=fits)
    else:
        order_N = torch.from_numpy(_stable_order(labels_N.numpy(), class_count)).to(fits)
    return ClassOffsets(order_N, (size_C.cumsum(0) - size_C).to(fits), size_C.to(fits))


def _stable_order(labels_N: NDArray[np.int64], class_count: int) -> NDArray[np.integer]:
    """Return the stable sort order of the labels. Radix sort, 16 bits at a time: NumPy uses it for uint16."""
    order_N = labels_N.astype(np.uint16).argsort(kind="stable")
    if class_count > 2**16:
        order_N = order_N.astype(np.int32 if len(labels_N) < 2**31 else np.int64)
        order_N = order_N[(labels_N >> 16).astype(np.uint16)[order_N].argsort(kind="stable")]
        return order_N if class_count <= 2**32 else np.argsort(labels_N, kind="stable")
    return order_N
