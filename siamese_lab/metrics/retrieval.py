"""Retrieval: where do the images of the query's class stand among all others, from the nearest to the farthest?

Recall@K (Jégou et al. 2011, and the metric-learning literature since), R-Precision and MAP@R (Musgrave et al. 2020,
arXiv:2003.08505, §3.2) and the mean reciprocal rank.

Shapes: N images, M of the gallery, Q of those that count as queries, K figures k, C classes, D dimensions.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese_lab import distances

KS = (1, 2, 4, 8)
Distance = Literal["cosine", "euclidean"]


class Retrieval(NamedTuple):
    """What every query found."""

    query_Q: Tensor
    """int64: which of the N images, ascending; those whose class has no other image are distractors, not queries."""
    hit_QK: Tensor
    """bool: whether an image of the class is among the k nearest, for each k."""
    r_precision_Q: Tensor
    """float32, 0…1: the share of the class among the R nearest, R being the number of others of the class."""
    average_precision_Q: Tensor
    """float32, 0…1: (1/R) Σ P(i)·rel(i) over the R nearest, the term of MAP@R."""
    reciprocal_rank_Q: Tensor
    """float32, 0…1: 1 over the place of the nearest image of the class."""
    k: tuple[int, ...]
    """What the columns of `hit_QK` mean."""
    index: str = "exact"
    """Or the approximate index it was found with."""

    def values(self) -> dict[str, Tensor]:
        """What each query contributes to each figure, float32 (Q,): recall@1 …, r_precision, map@r, mrr."""
        raise NotImplementedError

    def figures(self) -> dict[str, Tensor]:
        """The means of these: float32 scalars."""
        raise NotImplementedError


def retrieve(
    z_ND: Tensor,
    labels_N: Tensor,
    k: Sequence[int] = KS,
    *,
    gallery_z_MD: Tensor | None = None,
    gallery_labels_M: Tensor | None = None,
    distance: Distance = "cosine",
    index: Literal["exact", "faiss"] = "exact",
) -> Retrieval:
    """Every query's figures. Without a gallery, all images query all others."""
    raise NotImplementedError


class PerClass(NamedTuple):
    """The mean over the queries of each class."""

    label_C: Tensor
    mean_C: Tensor
    queries_C: Tensor


def per_class(values_Q: Tensor, labels_Q: Tensor) -> PerClass:
    """Means by class: `per_class(found.r_precision_Q, labels_N[found.query_Q])`."""
    raise NotImplementedError


class Nearest(NamedTuple):
    """The k nearest of the gallery, nearest first."""

    index_Qk: Tensor
    distance_Qk: Tensor


def nearest(
    z_QD: Tensor, gallery_z_MD: Tensor, k: int, leave_out_Q: Tensor | None = None, *, distance: Distance = "cosine"
) -> Nearest:
    """For pictures; `leave_out_Q` names the gallery's image that is the query itself."""
    raise NotImplementedError
