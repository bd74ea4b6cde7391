"""All pairs of a batch, for losses that compare each image with every other image instead of selected triplets.

Shapes: B images of the batch, D embedding dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.losses.pairs import check_labels


class AllPairs(NamedTuple):
    """The similarity of each image (row) to each image (column), and the kind of each pair.

    A pair of an image with itself, or with a repetition of the same image, is neither positive nor negative.
    """

    s_BB: Tensor
    """Dot products, at least float32."""
    positive_BB: Tensor
    """bool: two different images of one class."""
    negative_BB: Tensor
    """bool: images of two classes."""

    def number(self) -> Tensor:
        """Return the number of positive and negative pairs, each counted in both directions."""
        return self.positive_BB.sum() + self.negative_BB.sum()

    def has_both_B(self) -> Tensor:
        """Return True for each image with at least one positive and one negative."""
        return self.positive_BB.any(1) & self.negative_BB.any(1)


def all_pairs(loss: str, selection: Selection, z_BD: Tensor, labels_B: Tensor | None) -> AllPairs:
    """Compare all images of a batch. The caller checks the embeddings and switches autocast off.

    Raises:
        ValueError: if the labels or the ids of the images do not match the embeddings.
    """
    labels_B = check_labels(loss, z_BD, labels_B)
    ids_B = selection.triplets.image_ids_B if isinstance(selection.triplets, NoTriplets) else None
    if ids_B is None:
        ids_B = torch.arange(len(z_BD), device=z_BD.device)
    elif ids_B.shape != labels_B.shape:
        raise ValueError(f"The {loss} loss needs one image id per embedding, but got {tuple(ids_B.shape)}.")
    z_BD = z_BD.to(torch.promote_types(z_BD.dtype, torch.float32))
    one_class_BB = labels_B[:, None] == labels_B
    return AllPairs(z_BD @ z_BD.T, one_class_BB & (ids_B[:, None] != ids_B), ~one_class_BB)


def log_sum_exp(x: Tensor, included: Tensor, dim: int = 1) -> Tensor:
    """Return log Σ exp(x) over the included entries: a very low finite number without any, with gradient 0."""
    return x.masked_fill(~included, torch.finfo(x.dtype).min / 4).logsumexp(dim)


def log_one_plus_sum_exp(x: Tensor, included: Tensor, dim: int = 1) -> Tensor:
    """Return log(1 + Σ exp(x)) over the included entries: 0 without any."""
    return torch.logaddexp(log_sum_exp(x, included, dim), x.new_zeros(()))


def mean_over(terms_B: Tensor, included_B: Tensor) -> Tensor:
    """Return the mean over the included images: exactly 0 without any, and it still back-propagates."""
    return torch.where(included_B, terms_B, 0).sum() / included_B.sum().clamp_min(1)
