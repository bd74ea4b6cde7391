"""Easy-positive mining with semi-hard negatives (Xuan et al. 2020, arXiv:1904.04370, §3): pulls the nearest positive.

A class may then keep several clusters. As in the paper the negative is the nearest one beyond that positive; margin has
no part.
"""

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile


@register("easy_positive")
class EasyPositiveSampler(Sampler):
    """The nearest positive, in each of the K − 1 pairs of an anchor, and the nearest negative beyond it.

    So the K − 1 triplets of an anchor are alike, which leaves a mean loss as it is with one. If there is no negative
    beyond: the farthest, counted as a fallback.
    """

    def positives(self, tile: Tile) -> Tensor:
        """The nearest, for all pairs."""
        nearest_A1 = torch.where(tile.valid_AR, tile.s_ap_AR, -torch.inf).argmax(1, keepdim=True)
        return nearest_A1.expand_as(tile.s_ap_AR)

    def score(self, candidates: Candidates) -> Tensor:
        """Beyond the positive, the nearer the better."""
        return (-candidates.d_an_BB).masked_fill(candidates.d_an_BB <= candidates.d_ap_B1, -torch.inf)

    def fallback(self, candidates: Candidates) -> Tensor:
        """The farthest."""
        return candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """As all pairs of an anchor are alike, one is enough to look at."""
        s_ap_A1 = tile.s_ap_AR[:, :1]
        width_A1 = torch.full_like(s_ap_A1, torch.inf)
        negative_A1, is_none_A1 = block_selection.nearest_in_window(
            tile.masked(torch.inf), s_ap_A1, width_A1, tile.scratch
        )
        shape = tile.positive_AR.shape
        return Choice.of_one(tile.positive_AR, negative_A1.expand(shape), is_none_A1.expand(shape))
