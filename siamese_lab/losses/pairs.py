"""The pairs of a batch's triplets: how far, or how alike, anchor and positive and anchor and negatives are.

On a CPU the gradients of `index_select`, unlike indexing's, add up in a fixed order.

Shapes: C images (the batch of B, and what is remembered beside it), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Triplets


class Pairs(NamedTuple):
    """One number for each pair, so shaped that the two broadcast to one for each triplet."""

    positive_T1: Tensor
    negative_TM: Tensor


def pair_distances(z_CD: Tensor, triplets: Triplets, kind: distances.Kind = "plain") -> Pairs:
    """Distances d_ap and d_an of unit-norm embeddings."""
    return compare(z_CD, triplets, lambda left, right: distances.rowwise(left, right, kind))


def pair_products(z_CD: Tensor, triplets: Triplets) -> Pairs:
    """Dot products of embeddings of any length."""
    return compare(z_CD, triplets, distances.dot)


def compare(z_CD: Tensor, triplets: Triplets, measure: Callable[[Tensor, Tensor], Tensor]) -> Pairs:
    """What `measure` gives for anchors (T, 1, D) and their positives (T, 1, D) and negatives (T, M, D)."""
    anchor_T1D = z_CD.index_select(0, triplets.anchor_T)[:, None]
    positive_T1D = z_CD.index_select(0, triplets.positive_T)[:, None]
    negative_TMD = z_CD.index_select(0, triplets.negative_TM.flatten()).unflatten(0, triplets.negative_TM.shape)
    return Pairs(measure(anchor_T1D, positive_T1D), measure(anchor_T1D, negative_TMD))
