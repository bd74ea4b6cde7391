"""Clustering: does k-means with as many clusters as there are classes find the classes?

Shapes: N images, D embedding dimensions.
"""

from typing import NamedTuple

from torch import Tensor


class Clustering(NamedTuple):
    """How much the clusters tell about the classes, and these about them."""

    nmi: float
    """Normalised mutual information, 0…1, by the mean of both entropies. Many small clusters raise it by chance."""
    ami: float
    """Adjusted for chance: about 0 for random embeddings, 1 for perfect clusters (Vinh et al. 2010)."""


def nmi_ami(z_ND: Tensor, labels_N: Tensor, seed: int = 0) -> Clustering:
    """NMI and AMI of k-means (Lloyd's, from one k-means++ start) with as many clusters as classes.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes.
        seed: of the start.

    Raises:
        ValueError: for embeddings that are not finite, fewer than two classes, or classes of one image each.
    """
    raise NotImplementedError
