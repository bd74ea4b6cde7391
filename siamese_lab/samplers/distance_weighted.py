"""Distance-weighted sampling (Wu et al. 2017, arXiv:1706.07567, §4): negatives spread evenly over distances.

On the unit sphere in D dimensions distances between random points have the density
q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2). Weights of 1/q compensate for it. 1/q rises again beyond √2, where a negative
contributes nothing, so the upper cutoff is part of the method.
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
"""Upper limit of distances, below 2, because 1/q is infinite at 2."""
RESOLVED = 2**-9.5
"""Lower limit of distances: float32 products of unit vectors do not tell smaller distances from 0."""

SPACING = 2**-24
"""The largest distance between two neighboring float32 numbers below 1."""


def log_inverse_density(d: Tensor, dimensions: int) -> Tensor:
    """Return log 1/q(d) for distances d in (0, 2) between unit vectors, up to a constant (Wu et al. 2017, §4)."""
    return (2 - dimensions) * d.log() - (dimensions - 3) / 2 * torch.log1p(-d.square() / 4)


@register("distance_weighted")
class DistanceWeightedSampler(Sampler):
    """Draws negatives with weight ∝ min(λ, 1/q(d)).

    If an anchor has no negative nearer than `cutoff`, its pairs fall back to a uniform draw, which is counted.

    Args:
        nearest: lower limit of distances, so that no single negative takes all the weight. A limit below 0.0014 has the
            effect of 0.0014, because float32 does not resolve smaller distances.
        cutoff: only negatives nearer than this are eligible; in (nearest, 2].
        weight_limit: λ, the upper bound of the weight 1/q; with None only `nearest` bounds it.
        **base: see `Sampler`.

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = DistanceWeightedSampler(seed=0).mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.fallback_TM.flatten().tolist()  # images 0 and 3 have no negative nearer than 1.4
    [True, False, False, True]
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
                f"Distance-weighted sampling needs 0 < nearest < cutoff ≤ 2, but got nearest={nearest} and {cutoff=}."
            )
        if weight_limit is not None and not weight_limit > 0:
            raise UserError(f"weight_limit (λ) must be above 0, or null for no limit, but got {weight_limit}.")
        self.nearest = max(nearest, RESOLVED)
        self.cutoff = cutoff
        self.log_limit = math.inf if weight_limit is None else math.log(weight_limit)

    def score(self, candidates: Candidates) -> Tensor:
        """Return log min(λ, 1/q) + Gumbel noise where d < cutoff: the highest score is a draw with these weights.

        A constant added to a row does not change the draw, so no row can underflow.
        """
        d_an_BB = candidates.d_an_BB
        log_weight_BB = log_inverse_density(d_an_BB.clamp(self.nearest, FARTHEST), candidates.dimensions)
        score_BB = log_weight_BB.clamp_max(self.log_limit) + self.gumbel_noise(d_an_BB)
        return score_BB.masked_fill(d_an_BB >= self.cutoff, -torch.inf)

    def choose_one(self, tile: Tile) -> Choice:
        """Draw by inverting the cumulative weights, which all pairs of an anchor share."""
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
        """Return weights up to a factor per row, 0 for ineligible images, and True for rows with an eligible image.

        With d² = 2 − 2s the weight 1/q is (1 − s²)^(−(D−3)/2) / √(2 − 2s). The first factor is taken relative to its
        largest value in the row. Ineligible images enter the arithmetic as s = +inf, which ends at a weight of 0.
        """
        s_AN = tile.masked(-torch.inf)
        low, high = self.similarity_range(tile.dimensions)
        least = 1 - self.cutoff**2 / 2
        if high - least <= SPACING:  # every eligible image is limited to the same weight
            weight_AN = torch.gt(s_AN, least, out=tile.scratch_AN)
            return weight_AN, weight_AN.amax(1, keepdim=True) > 0
        torch.threshold_(s_AN.clamp_max_(high), least, torch.inf).clamp_min_(low)

        ratio_AN = torch.mul(s_AN, s_AN, out=tile.scratch_AN).neg_().add_(1).reciprocal_()
        most_A1 = ratio_AN.amax(1, keepdim=True)
        halves = tile.dimensions - 3
        # Lower limit for ratios with a power below e^−80, because processors are slow on denormal numbers.
        ratio_AN.div_(most_A1.clamp_min(1)).clamp_min_(math.exp(-80 / max(halves / 2, 1)))
        rest_AN = s_AN.neg_().add_(1).abs_()
        if halves % 2:  # ratio^½ = ratio / √ratio
            rest_AN.mul_(ratio_AN)
        return block_selection.power_(ratio_AN, (halves + 1) // 2).mul_(rest_AN.rsqrt_()), most_A1 > 0

    def similarity_range(self, dimensions: int) -> tuple[float, float]:
        """Return the limits of similarities: the values at `FARTHEST` and `nearest`, or where 1/q reaches λ."""
        least = math.sqrt(2 + 2 / (2 * dimensions - 5)) if dimensions > 3 else FARTHEST
        near = self._where_limit_is_met(dimensions, least, self.nearest)
        far = self._where_limit_is_met(dimensions, least, FARTHEST)
        return 1 - far**2 / 2, 1 - near**2 / 2

    def _where_limit_is_met(self, dimensions: int, inside: float, outside: float) -> float:
        """Return the distance where log 1/q, which rises from `inside` to `outside`, exceeds log λ."""

        def exceeds(d: float) -> bool:
            # log_inverse_density of one number, because operations on tensors take a thousand times as long
            return (2 - dimensions) * math.log(d) - (dimensions - 3) / 2 * math.log1p(-(d**2) / 4) > self.log_limit

        if math.isinf(self.log_limit) or not exceeds(outside):
            return outside
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if exceeds(middle) else (middle, outside)
        return inside
