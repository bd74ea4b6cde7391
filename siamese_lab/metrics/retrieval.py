"""Retrieval: is an image of the query's class among its nearest others?

Shapes: N images, D embedding dimensions, T queries of one tile.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese_lab import distances

KS = (1, 2, 4, 8)
TILE_CELLS = 2**24
"""Similarities held at once: 64 MiB."""
TIE = 1e-6
"""Similarities nearer than this are equal: a matrix product rounds equal rows differently in different places."""


def recall_at_k(z_ND: Tensor, labels_N: Tensor, k: Sequence[int] = KS) -> dict[int, Tensor]:
    """Recall@K: the share of queries with at least one image of their class among their K nearest others.

    Every image queries all others; it is itself removed by index. An image alone in its class is a distractor, never a
    query. Ties count against the model: a query succeeds if fewer than K images of other classes are at least as near
    as its nearest of the same class, so that a collapsed network gets 0, not 1. So does one whose embeddings are NaN.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes.
        k: the K's, each at least 1.

    Returns:
        For each K a float32 scalar in 0…1.

    Raises:
        ValueError: for shapes that do not match, K < 1, or no class of two images.
    """
    if z_ND.ndim != 2 or labels_N.shape != z_ND.shape[:1]:
        raise ValueError(
            f"recall_at_k expects embeddings (N, D) and labels (N,), "
            f"but got {tuple(z_ND.shape)} and {tuple(labels_N.shape)}."
        )
    if min(k) < 1:
        raise ValueError(f"Every K of Recall@K must be at least 1, but they are {tuple(k)}.")
    tile = max(1, TILE_CELLS // max(1, len(z_ND)))
    nearer_N = torch.cat([_nearer_others(z_ND, labels_N, rows_T) for rows_T in _rows(z_ND).split(tile)])
    is_query_N = nearer_N >= 0
    queries = is_query_N.sum()
    if queries == 0:
        raise ValueError(f"Recall@K needs a class with at least 2 images, but all {len(labels_N)} have one.")
    return {K: ((nearer_N < K) & is_query_N).sum() / queries for K in k}


def _rows(z_ND: Tensor) -> Tensor:
    return torch.arange(len(z_ND), device=z_ND.device)


def _nearer_others(z_ND: Tensor, labels_N: Tensor, rows_T: Tensor) -> Tensor:
    """How many images of other classes are at least as near as the nearest of the same; −1 where there is none such."""
    with distances.full_float32(z_ND.device):
        similarity_TN = z_ND[rows_T].float() @ z_ND.float().T
    same_TN = labels_N[rows_T, None] == labels_N
    best_T1 = (
        similarity_TN.masked_fill(~same_TN, -torch.inf).scatter(1, rows_T[:, None], -torch.inf).amax(1, keepdim=True)
    )
    nearer_T = (~(similarity_TN < best_T1 - TIE) & ~same_TN).sum(1)
    return nearer_T.where(same_TN.sum(1) > 1, -1)


class RecallAtK(Metric):
    """Recall@K over all images seen since the last reset, in chunks of any size.

    Args:
        k: the K's.
    """

    full_state_update = False
    embeddings: list[Tensor]
    labels: list[Tensor]

    def __init__(self, k: Sequence[int] = KS) -> None:
        super().__init__()
        self.k = tuple(k)
        self.add_state("embeddings", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, z_BD: Tensor, labels_B: Tensor) -> None:
        """Add embeddings and their classes."""
        self.embeddings.append(z_BD.float())
        self.labels.append(labels_B)

    def compute(self) -> dict[str, Tensor]:
        """{'recall@1': …, 'recall@2': …}."""
        recall = recall_at_k(dim_zero_cat(self.embeddings), dim_zero_cat(self.labels), self.k)
        return {f"recall@{k}": share for k, share in recall.items()}
