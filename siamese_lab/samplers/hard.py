"""Hard-negative mining: the nearest negative of the anchor, argmin d_an.

Training collapses easily (Schroff et al. 2015, arXiv:1503.03832, §3.2): the loss then stays at the margin and
`d_ap_mean` and `d_an_mean` both fall to 0.
"""

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile


def nearest(tile: Tile) -> Choice:
    """Return the nearest negative of each anchor, for all its pairs."""
    negative_A = block_selection.largest(tile.masked(-torch.inf))
    return Choice.of_one(tile.positive_AR, negative_A[:, None].expand_as(tile.positive_AR))


@register("hard")
class HardSampler(Sampler):
    """Takes the nearest negative of the anchor.

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = HardSampler().mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 2, 1, 1]
    """

    def score(self, candidates: Candidates) -> Tensor:
        """Prefer near images."""
        return -candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """Find the nearest negative in one pass over the similarities."""
        return nearest(tile)
