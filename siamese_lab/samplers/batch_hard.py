"""Batch-hard mining (Hermans et al. 2017, arXiv:1703.07737, §2): the farthest positive and the nearest negative."""

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.hard import nearest
from siamese_lab.samplers.kernels.tiles import Tile


@register("batch_hard")
class BatchHardSampler(Sampler):
    """One triplet per anchor that has a positive: B of them, the stated exception to the equal count."""

    def positives(self, tile: Tile) -> Tensor:
        """The farthest."""
        return torch.where(tile.valid_AR, tile.s_ap_AR, torch.inf).argmin(1, keepdim=True)

    def score(self, candidates: Candidates) -> Tensor:
        """The nearer, the better."""
        return -candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """By one pass over the similarities."""
        return nearest(tile)
