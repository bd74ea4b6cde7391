"""Count which negatives the strategies pick for one (anchor, positive) pair of a batch.

Shapes: B images, D embedding dimensions, N negatives of the anchor, T (anchor, positive) pairs, M negatives per pair.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Triplets
from siamese_lab.errors import UserError
from siamese_lab.samplers import Sampler


class Pair(NamedTuple):
    """Two images of one class, as indices into the batch."""

    anchor: int
    positive: int


class Picks(NamedTuple):
    """The negatives of a pair, and how often each strategy picked each of them."""

    pair: Pair
    d_ap: float
    negative_N: Tensor
    """Indices (int64) of the anchor's negatives in the batch, the nearest first."""
    d_an_N: Tensor
    """Euclidean distances of the negatives from the anchor, ascending."""
    share: dict[str, Tensor]
    """Fraction of a strategy's picks that each negative received, float32 (N), by strategy. The sum is 1."""


def pick(samplers: Mapping[str, Sampler], z_BD: Tensor, labels_B: Tensor, pair: Pair, draws: int = 500) -> Picks:
    """Let each strategy select from the batch many times, and count the negatives it picks for the pair.

    Args:
        samplers: the strategies, by the names to show.
        z_BD: unit-norm embeddings.
        labels_B: the class of each embedding.
        pair: an anchor and another image of its class.
        draws: number of selections. A deterministic strategy picks the same negatives each time.

    Raises:
        UserError: if the pair is not two images of one class, or draws is below 1. Also if a strategy does not pick
            single negatives from the batch alone, or picks nothing for this pair.
    """
    anchor, positive = pair
    if anchor == positive or labels_B[anchor] != labels_B[positive]:
        raise UserError(
            f"A pair must be two different images of one class, but images {anchor} and {positive} are not."
        )
    if draws < 1:
        raise UserError(f"draws must be at least 1, but is {draws}.")
    d_B = distances.pairwise(z_BD)[anchor].cpu()
    negative_N = (labels_B != labels_B[anchor]).nonzero().squeeze(1).cpu()
    negative_N = negative_N[d_B[negative_N].argsort(stable=True)]
    share = {
        name: _counts(name, sampler, z_BD, labels_B, pair, draws)[negative_N] for name, sampler in samplers.items()
    }
    return Picks(pair, float(d_B[positive]), negative_N, d_B[negative_N], {k: n / n.sum() for k, n in share.items()})


def _counts(name: str, sampler: Sampler, z_BD: Tensor, labels_B: Tensor, pair: Pair, draws: int) -> Tensor:
    """Count how often the strategy picked each image of the batch."""
    if sampler.triplet_type is not Triplets or sampler.uses_memory:
        raise UserError(f"The sampler {name!r} does not pick single negatives from the batch alone.")
    count_B = torch.zeros(len(labels_B))
    for _ in range(draws):
        triplets = sampler(z_BD, labels_B)
        assert isinstance(triplets, Triplets)
        of_pair_T = (triplets.anchor_T == pair.anchor) & (triplets.positive_T == pair.positive)
        picked = triplets.negative_TM[of_pair_T].flatten().cpu()
        count_B.index_add_(0, picked, torch.ones(len(picked)))
    if not count_B.any():
        raise UserError(
            f"The sampler {name!r} does not pair anchor {pair.anchor} with positive {pair.positive}. "
            "Choose another pair, or leave out this sampler."
        )
    return count_B


def informative_pair(z_BD: Tensor, labels_B: Tensor, margin: float = 0.2) -> Pair:
    """Return the pair that shows best how strategies differ.

    Such a pair has many negatives in each of three ranges: nearer than the positive, inside the semi-hard window, and
    beyond the window.

    Args:
        z_BD: unit-norm embeddings.
        labels_B: the class of each embedding.
        margin: width of the semi-hard window beyond the positive, in Euclidean distance.

    Raises:
        UserError: if no class has two images.
    """
    d_BB = distances.pairwise(z_BD)
    same_BB = labels_B[:, None] == labels_B
    anchor_T, positive_T = (same_BB.fill_diagonal_(False)).nonzero(as_tuple=True)
    if not len(anchor_T):
        raise UserError(f"A pair needs two images of one class, but all {len(labels_B)} images have different classes.")
    d_ap_T1, d_an_TB = d_BB[anchor_T, positive_T][:, None], d_BB[anchor_T]
    negative_TB = labels_B[anchor_T][:, None] != labels_B
    nearer_T = (negative_TB & (d_an_TB < d_ap_T1)).sum(1)
    up_to_T = (negative_TB & (d_an_TB < d_ap_T1 + margin)).sum(1)
    inside_T, beyond_T = up_to_T - nearer_T, negative_TB.sum(1) - up_to_T
    best = int(((1 + nearer_T) * (1 + inside_T) * (1 + beyond_T)).argmax())
    return Pair(int(anchor_T[best]), int(positive_T[best]))
