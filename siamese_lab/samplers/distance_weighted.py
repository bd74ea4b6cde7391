"""Distance-weighted sampling (Wu et al. 2017, arXiv:1706.07567, §4): negatives spread evenly over distances.

On the unit sphere in D dimensions distances between random points have the density
q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2). Weights of 1/q undo it. As 1/q rises again beyond √2, where a negative teaches
nothing, the upper cut-off is part of the method.
"""

import math
from typing import Any

import torch
from torch import Tensor

from siamese_lab.samplers.base import Candidates, Sampler
from siamese_lab.samplers.registry import register

FARTHEST = 1.999
"""Distances are clipped below 2, where 1/q is infinite."""


def log_inverse_density(d: Tensor, dimensions: int) -> Tensor:
    """log 1/q(d) for distances d in (0, 2) between unit vectors, up to a constant (Wu et al. 2017, §4)."""
    return (2 - dimensions) * d.log() - (dimensions - 3) / 2 * torch.log1p(-d.square() / 4)


@register("distance_weighted")
class DistanceWeightedSampler(Sampler):
    """Draws negatives with weight ∝ min(λ, 1/q(d)).

    A pair whose anchor has no negative nearer than `cutoff` falls back to a uniform draw, and is counted.

    Args:
        nearest: distances below are taken for this one, so that no single negative takes all the weight.
        cutoff: only negatives nearer than this are eligible; in (nearest, 2].
        weight_limit: λ, the upper bound of the weight 1/q; None leaves it to `nearest`.
        **base: see `Sampler`.
    """

    def __init__(
        self,
        nearest: float = 0.5,
        cutoff: float = 1.4,
        weight_limit: float | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if not 0 < nearest < cutoff <= 2:
            raise ValueError(
                f"Distance-weighted sampling needs 0 < nearest < cutoff ≤ 2, but nearest={nearest} and cutoff={cutoff}."
            )
        if weight_limit is not None and not weight_limit > 0:
            raise ValueError(f"weight_limit (λ) must be above 0, but is {weight_limit}.")
        self.nearest = nearest
        self.cutoff = cutoff
        self.log_limit = math.inf if weight_limit is None else math.log(weight_limit)

    def score(self, candidates: Candidates) -> Tensor:
        """log min(λ, 1/q) + Gumbel noise where d < cutoff: the highest is a draw with those weights.

        A draw is the same whatever constant is added to a row, so no row can underflow.
        """
        d_an_BB = candidates.d_an_BB
        log_weight_BB = log_inverse_density(d_an_BB.clamp(self.nearest, FARTHEST), candidates.dimensions)
        score_BB = log_weight_BB.clamp_max(self.log_limit) + self.gumbel_noise(d_an_BB)
        return score_BB.masked_fill(d_an_BB >= self.cutoff, -torch.inf)
