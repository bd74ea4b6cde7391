"""Batch-hard mining (Hermans et al. 2017, arXiv:1703.07737, §2): the farthest positive and the nearest negative."""

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.hard import nearest
from siamese_lab.samplers.kernels.tiles import Tile


@register("batch_hard")
class BatchHardSampler(Sampler):
    """Takes one triplet per anchor that has a positive, so B triplets instead of P·K·(K−1).

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = BatchHardSampler().mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 2, 1, 1]
    """

    def positives(self, tile: Tile) -> Tensor:
        """Choose the farthest positive."""
        return torch.where(tile.valid_AR, tile.s_ap_AR, torch.inf).argmin(1, keepdim=True)

    def score(self, candidates: Candidates) -> Tensor:
        """Prefer near images."""
        return -candidates.d_an_BB

    def choose_one(self, tile: Tile) -> Choice:
        """Find the nearest negative in one pass over the similarities."""
        return nearest(tile)
