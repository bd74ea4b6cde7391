"""What the last training step selected, in plain distances (0…2) between unit vectors.

Shapes: B images, C images that could be chosen, D embedding dimensions, T (anchor, positive) pairs, M negatives per
pair, R pairs per anchor.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Triplets
from siamese_lab.losses.pairs import pair_distances
from siamese_lab.module import SiameseModule


class Distances(NamedTuple):
    """Of all triplets of a step; without a list of these, of every pair that one is made of."""

    d_ap: Tensor
    d_an: Tensor


class Hardest(NamedTuple):
    """A triplet for each of some pairs, as indices into the batch (int64), and how far its images lie apart."""

    anchor_T: Tensor
    positive_T: Tensor
    negative_T: Tensor
    d_ap_T: Tensor
    """−inf where there is no positive."""
    d_an_T: Tensor
    """inf where there is no negative within the batch."""


def selected_distances(module: SiameseModule) -> Distances:
    """d_ap of the pairs and d_an of all their negatives."""
    step = module.last
    if isinstance(step.triplets, Triplets):
        d_ap_T1, d_an_TM = pair_distances(_pool(module), step.triplets)
        return Distances(d_ap_T1.flatten(), d_an_TM.flatten())
    d_BB = distances.pairwise(_pool(module))
    d_ap_BR = d_BB.gather(1, step.triplets.positive_BR)
    return Distances(d_ap_BR[step.triplets.valid_BR], d_BB[step.labels_B[:, None] != step.labels_B])


def hardest_negatives(module: SiameseModule) -> Hardest:
    """Each pair with the nearest of its negatives that lie in the batch, without making a GPU wait.

    Of triplets that are not listed: each anchor with its farthest positive and its nearest negative, taken or not.
    """
    step = module.last
    if isinstance(step.triplets, Triplets):
        anchor_T, positive_T, negative_TM = step.triplets
        d_ap_T1, d_an_TM = pair_distances(_pool(module), step.triplets)
        remembered_TM = negative_TM >= len(step.labels_B)
        d_an_T, nearest_T = d_an_TM.masked_fill(remembered_TM, torch.inf).min(1)
        negative_T = negative_TM.gather(1, nearest_T[:, None])[:, 0].clamp_max(len(step.labels_B) - 1)
        return Hardest(anchor_T, positive_T, negative_T, d_ap_T1[:, 0], d_an_T)
    d_BB = distances.pairwise(_pool(module))
    d_ap_BR = d_BB.gather(1, step.triplets.positive_BR).masked_fill(~step.triplets.valid_BR, -torch.inf)
    d_ap_B, farthest_B = d_ap_BR.max(1)
    positive_B = step.triplets.positive_BR.gather(1, farthest_B[:, None])[:, 0]
    d_an_B, negative_B = d_BB.masked_fill(step.labels_B[:, None] == step.labels_B, torch.inf).min(1)
    return Hardest(torch.arange(len(d_BB), device=d_BB.device), positive_B, negative_B, d_ap_B, d_an_B)


def _pool(module: SiameseModule) -> Tensor:
    """The unit vectors (C×D) that the triplets' indices point into."""
    return module.sampler.pool(module.network.direction(module.last.z_BD))
