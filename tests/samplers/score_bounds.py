"""Bound what a strategy may choose by its score, whatever the rounding of the distances.

The score, not a kernel, defines a strategy. Here it is computed at every squared distance and at the distances that
rounding could give instead. The lowest and the highest score of each image then decide what must be, may be and must
not be chosen.

Shapes: A anchors, C candidates, D embedding dimensions, R pairs per anchor, M negatives per pair, T = A·R.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.samplers import Candidates, Sampler
from siamese_lab.samplers.kernels.counter_rng import Noise

ROUNDING = 4e-6
"""The largest difference between squared distances that float32 products, in any order, and float64 products give."""
CHANGES = (-1.0, -1 / 8, -1 / 64, 0.0, 1 / 64, 1 / 8, 1.0)
"""Shares of the rounding at which scores are computed, because a window can be narrower than the rounding."""


def rounding_of(z_CD: Tensor) -> float:
    """Return how much squared distances may differ: more if half precision gives other norms than 1."""
    filled_CD = z_CD[z_CD.any(1)].double()
    return ROUNDING + 2 * float((filled_CD.square().sum(1) - 1).abs().max())


class ScriptedNoise(Noise):
    """Gives the numbers of a script in place of random ones, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked = 0

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        self.asked += 1
        return self.numbers(shape)

    def numbers(self, shape: tuple[int, ...]) -> Tensor:
        """Return one number for every place, so that noise prefers no image."""
        return torch.full(shape, 0.5)


class EveryImageScoredError(Exception):
    """Raised when a strategy asks for a number for each image instead of one for each pair."""


class Grid(ScriptedNoise):
    """Gives `count` evenly spaced numbers to the `count` repetitions of each pair.

    Args:
        shape: (A, R·count).
        count: number of repetitions of each pair.
    """

    def __init__(self, shape: tuple[int, int], count: int) -> None:
        super().__init__()
        self.shape, self.count = shape, count

    def numbers(self, shape: tuple[int, ...]) -> Tensor:
        if shape[-2:] != self.shape:
            raise EveryImageScoredError
        spaced = (torch.arange(self.count) + 0.5) / self.count
        return spaced.repeat(shape[-1] // self.count).expand(shape).clone()


class Recorded(ScriptedNoise):
    """Draws random numbers and keeps them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed % 2**63)
        self.kept: list[Tensor] = []

    def numbers(self, shape: tuple[int, ...]) -> Tensor:
        self.kept.append(torch.rand(shape, generator=self.generator).clamp_(2**-24, 1 - 2**-24))
        return self.kept[-1].clone()


class Replayed(ScriptedNoise):
    """Gives the kept numbers again, one call after the other."""

    def __init__(self, kept: list[Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def numbers(self, shape: tuple[int, ...]) -> Tensor:
        return self.kept[self.asked - 1].view(shape).clone()


class Bounds(NamedTuple):
    """The lowest and highest score of each image as the negative of each pair; −inf where it is ineligible."""

    low_TC: Tensor
    high_TC: Tensor
    is_drawn: bool
    """True if the score uses random numbers."""

    def may_be_best(self) -> Tensor:
        """Return True for each image that no other image certainly exceeds."""
        if self.is_drawn:
            return self.high_TC > -torch.inf
        return (self.high_TC > -torch.inf) & (self.high_TC >= self.low_TC.amax(1, keepdim=True))

    def probabilities(self) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest probability of each image: a score with equal noise is a log-weight."""
        low_TC, high_TC = self.low_TC.double(), self.high_TC.double()
        least_TC = (low_TC - _sum_of_others(high_TC)).sigmoid()
        most_TC = (high_TC - _sum_of_others(low_TC)).sigmoid()
        return least_TC.nan_to_num(0.0), most_TC.nan_to_num(0.0)


def _sum_of_others(log_TC: Tensor) -> Tensor:
    """Return, for each image, the logarithm of the sum of the weights of the other images."""
    same_CC = torch.eye(log_TC.shape[1], dtype=torch.bool)
    return log_TC[:, None].masked_fill(same_CC, -torch.inf).logsumexp(2)


class Definition(NamedTuple):
    """The bounds of score and fallback for all pairs, anchor by anchor."""

    score: Bounds
    fallback: Bounds


def define(
    sampler: Sampler, z_CD: Tensor, labels_C: Tensor, is_empty_C: Tensor, positive_AR: Tensor, noise: list[Tensor]
) -> Definition:
    """Compute the definition of a strategy for the anchors 0 … A − 1 and the pairs that it takes.

    Args:
        sampler: the strategy, whose own noise is replaced.
        z_CD: the batch, then remembered images.
        labels_C: their labels.
        is_empty_C: True for a place of the memory without an image.
        positive_AR: the positives of each anchor.
        noise: recorded noise of `choose_best`: of the score, then of the fallback; empty for equal noise.
    """
    anchors, pairs = positive_AR.shape
    rounding, z_CD = rounding_of(z_CD), z_CD.double()
    squared_AC = (2 - 2 * z_CD[:anchors] @ z_CD.T).clamp(0, 4)
    other_AC = (labels_C[:anchors, None] == labels_C) | is_empty_C
    d2_ap_AR = squared_AC.gather(1, positive_AR)
    other_TC = other_AC.repeat_interleave(pairs, 0)
    scores: list[list[Tensor]] = [[], []]
    drawn = [False, False]
    for change in (share * rounding for share in CHANGES):
        d_an_AC = (squared_AC + change).clamp(0, 4).sqrt().masked_fill(other_AC, torch.inf).float()
        candidates = Candidates(
            d2_ap_AR.sqrt().float().reshape(-1, 1),
            d_an_AC.repeat_interleave(pairs, 0),
            z_CD.shape[1],
            d2_ap_AR.sqrt().float().repeat_interleave(pairs, 0),
        )
        sampler.noise = Replayed(noise) if noise else ScriptedNoise()
        for place, compute in enumerate((sampler.score, sampler.fallback)):
            before = sampler.noise.asked
            scores[place].append(compute(candidates).masked_fill(other_TC, -torch.inf))
            drawn[place] |= sampler.noise.asked > before
    bounds = [torch.stack(each).aminmax(dim=0) for each in scores]
    return Definition(*(Bounds(*each, is_drawn) for each, is_drawn in zip(bounds, drawn, strict=True)))
