"""Multi-similarity mining (Wang et al. 2019, arXiv:1904.06627, §3.3): pairs that are informative
compared with the other pairs of the anchor.

A negative is informative if s_an > min s_ap − ε, over all positives of the anchor. A positive is informative if
s_ap < max s_an + ε, over all negatives of the anchor. s are dot products, not distances.
"""

from typing import Any

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile

WIDEST = 4.0
"""Smallest ε with which every negative is informative, because similarities differ by 2 at most."""


@register("multi_similarity")
class MultiSimilaritySampler(Sampler):
    """Draws a negative uniformly from the informative negatives.

    The farthest positive replaces a positive that is not informative; if any positive is informative, the farthest is.
    Without an informative negative, the nearest negative is taken and counted as a fallback.

    Args:
        epsilon: ε ≥ 0.
        **base: see `Sampler`.

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = MultiSimilaritySampler().mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 2, 1, 1]
    """

    def __init__(self, epsilon: float = 0.1, **base: Any) -> None:
        super().__init__(**base)
        if not epsilon >= 0:
            raise UserError(f"sampler.epsilon must be at least 0 for multi-similarity mining, but got {epsilon}.")
        self.epsilon = min(epsilon, WIDEST)

    def positives(self, tile: Tile) -> Tensor:
        """Choose the informative positives, and the farthest positive in place of the others."""
        s_an_A1 = tile.masked(-torch.inf).amax(1, keepdim=True)
        s_ap_AR = torch.where(tile.valid_AR, tile.s_ap_AR, torch.inf)
        slot_R = torch.arange(s_ap_AR.shape[1], device=s_ap_AR.device)
        return torch.where(s_ap_AR < s_an_A1 + self.epsilon, slot_R, s_ap_AR.argmin(1, keepdim=True))

    def score(self, candidates: Candidates) -> Tensor:
        """Score informative negatives by uniform noise."""
        s_an_BB = 1 - candidates.d_an_BB.square() / 2
        least_B1 = 1 - candidates.d_positives_BR.square().amax(1, keepdim=True) / 2 - self.epsilon
        return self.uniform_noise(s_an_BB).masked_fill(s_an_BB <= least_B1, -torch.inf)

    def fallback(self, candidates: Candidates) -> Tensor:
        """Prefer near images."""
        return -candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """Draw from the negatives above the least similarity: with all signs changed, a window without a lower end."""
        most_A1 = self.epsilon - tile.s_ap_AR.amin(1, keepdim=True).clamp_(max=1)
        width_A1, u_AR = torch.full_like(most_A1, torch.inf), self.uniform_noise(tile.s_ap_AR)
        s_AN = tile.masked(-torch.inf).neg_().clamp_(min=-1)  # a dot product may pass 1 by rounding
        negative_AR, is_none_A1 = block_selection.draw_in_window(s_AN, most_A1, width_A1, u_AR, tile.scratch)
        return Choice.of_one(tile.positive_AR, negative_AR, is_none_A1.expand_as(negative_AR))
