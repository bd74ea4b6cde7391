"""Distance-weighted sampling (Wu et al. 2017, arXiv:1706.07567, §4): negatives spread evenly over distances.

On the unit sphere in D dimensions distances between random points have the density
q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2). Weights of 1/q undo it. As 1/q rises again beyond √2, where a negative teaches
nothing, the upper cut-off is part of the method.
"""

import math
from typing import Any

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection, on_eager_cpu
from siamese_lab.samplers.kernels.tiles import Tile

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
            raise UserError(
                f"Distance-weighted sampling needs 0 < nearest < cutoff ≤ 2, but nearest={nearest} and cutoff={cutoff}."
            )
        if weight_limit is not None and not weight_limit > 0:
            raise UserError(f"weight_limit (λ) must be above 0, but is {weight_limit}.")
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

    def choose_one(self, tile: Tile) -> Choice:
        """By the inverse of the cumulated weights, which all pairs of an anchor share."""
        if tile.dimensions < 3:
            return self.choose_best(tile)
        weight_AN, eligible_A1 = self.weights(tile)
        u_AR, u_anywhere_AR = self.uniform_noise(tile.s_ap_AR.expand(2, -1, -1)).unbind()
        drawn_AR = block_selection.draw_weighted(weight_AN, u_AR)
        if on_eager_cpu(drawn_AR.device) and eligible_A1.all():
            return Choice.of_one(tile.positive_AR, drawn_AR)
        anywhere_AR = tile.draw_negatives(u_anywhere_AR)
        negative_AR = torch.where(eligible_A1, drawn_AR, anywhere_AR)
        return Choice.of_one(tile.positive_AR, negative_AR, ~eligible_A1.expand_as(negative_AR))

    def weights(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Weights up to a factor per row, 0 for what is not eligible, and whether a row has any that is.

        With d² = 2 − 2s the weight 1/q is (1 − s²)^(−(D−3)/2) / √(2 − 2s), and the first factor is taken relative to
        its largest in the row. What is not eligible goes through the arithmetic as s = +inf, which ends at a weight of
        0.
        """
        s_AN = tile.masked(-torch.inf)
        low, high = self.similarity_range(tile.dimensions)
        torch.threshold_(s_AN.clamp_max_(high), 1 - self.cutoff**2 / 2, torch.inf).clamp_min_(low)

        ratio_AN = torch.mul(s_AN, s_AN, out=tile.scratch_AN).neg_().add_(1).reciprocal_()
        most_A1 = ratio_AN.amax(1, keepdim=True)
        halves = tile.dimensions - 3
        # Ratios whose power would be below e^−80 are raised to it, as processors are slow on denormal numbers.
        ratio_AN.div_(most_A1.clamp_min(1)).clamp_min_(math.exp(-80 / max(halves / 2, 1)))
        rest_AN = s_AN.neg_().add_(1).abs_()
        if halves % 2:  # ratio^½ = ratio / √ratio
            rest_AN.mul_(ratio_AN)
        return block_selection.power_(ratio_AN, (halves + 1) // 2).mul_(rest_AN.rsqrt_()), most_A1 > 0

    def similarity_range(self, dimensions: int) -> tuple[float, float]:
        """The similarities to which others are clipped: those at `nearest` and `FARTHEST`, or where 1/q reaches λ."""
        least = math.sqrt(2 + 2 / (2 * dimensions - 5)) if dimensions > 3 else FARTHEST
        near = self._where_limit_is_met(dimensions, least, self.nearest)
        far = self._where_limit_is_met(dimensions, least, FARTHEST)
        return 1 - far**2 / 2, min(1 - near**2 / 2, 1 - 2**-20)

    def _where_limit_is_met(self, dimensions: int, inside: float, outside: float) -> float:
        """The distance between these where log 1/q, which rises on the way, exceeds log λ."""

        def exceeds(d: float) -> bool:
            return float(log_inverse_density(torch.tensor(d, dtype=torch.float64), dimensions)) > self.log_limit

        if math.isinf(self.log_limit) or not exceeds(outside):
            return outside
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if exceeds(middle) else (middle, outside)
        return inside
