"""Easy-positive mining with semi-hard negatives (Xuan et al. 2020, arXiv:1904.04370, §3): pulls the nearest positive.

A class can then keep several clusters. The negative is the nearest negative beyond that positive, without a margin, as
in the paper.
"""

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile


@register("easy_positive")
class EasyPositiveSampler(Sampler):
    """Takes the nearest positive for all K − 1 pairs of an anchor, and the nearest negative beyond it.

    The K − 1 triplets of an anchor are equal, so a mean loss has the same value as with one triplet. Without a negative
    beyond the positive, the farthest negative is taken and counted as a fallback.

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = EasyPositiveSampler().mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 3, 0, 1]
    """

    def positives(self, tile: Tile) -> Tensor:
        """Choose the nearest positive for all pairs."""
        nearest_A1 = torch.where(tile.valid_AR, tile.s_ap_AR, -torch.inf).argmax(1, keepdim=True)
        return nearest_A1.expand_as(tile.s_ap_AR)

    def score(self, candidates: Candidates) -> Tensor:
        """Prefer near images beyond the positive."""
        return (-candidates.d_an_BB).masked_fill(candidates.d_an_BB <= candidates.d_ap_B1, -torch.inf)

    def fallback(self, candidates: Candidates) -> Tensor:
        """Prefer far images."""
        return candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """Choose for one pair of each anchor, because all pairs of an anchor are equal."""
        s_ap_A1 = tile.s_ap_AR[:, :1]
        width_A1 = torch.full_like(s_ap_A1, torch.inf)
        negative_A1, is_none_A1 = block_selection.nearest_in_window(
            tile.masked(torch.inf), s_ap_A1, width_A1, tile.scratch
        )
        shape = tile.positive_AR.shape
        return Choice.of_one(tile.positive_AR, negative_A1.expand(shape), is_none_A1.expand(shape))
