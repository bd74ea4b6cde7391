"""Hard-negative mining: the nearest negative of the anchor, argmin d_an.

It collapses easily (Schroff et al. 2015, arXiv:1503.03832, §3.2): the loss then stays at the margin and
`d_ap_mean` and `d_an_mean` both fall to 0.
"""

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile


def nearest(tile: Tile) -> Choice:
    """The nearest negative, for all pairs of an anchor the same."""
    negative_A = block_selection.largest(tile.masked(-torch.inf))
    return Choice.of_one(tile.positive_AR, negative_A[:, None].expand_as(tile.positive_AR))


@register("hard")
class HardSampler(Sampler):
    """The nearest negative."""

    def score(self, candidates: Candidates) -> Tensor:
        """The nearer, the better."""
        return -candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """By one pass over the similarities."""
        return nearest(tile)
