"""The sum of the triplet loss over all triplets of a batch, and its gradient, without a list (Hermans et al. 2017, §2).

One pass over the row of distances compares an anchor and one of its positives with all negatives. The same pass
computes the gradient, tile by tile: first by the distances, then by both embeddings, with two matrix products.

Shapes: B images, D embedding dimensions, A anchors of a tile, K images of a class, R = K − 1.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from siamese_lab import distances
from siamese_lab.batch import AllTriplets


class Terms(NamedTuple):
    """The options of the summed terms of the triplet loss."""

    margin: float
    soft: bool
    distance: distances.Kind


class Total(NamedTuple):
    """Sums over all triplets that are taken; each is a scalar."""

    sum: Tensor
    """The sum of the loss; it back-propagates."""
    active: Tensor
    """float64: the number of terms above 0."""
    taken: Tensor
    """float64: the number of triplets taken: all, or the semi-hard ones."""
    all: Tensor
    """float64: the number of valid triplets."""


def total(z_BD: Tensor, triplets: AllTriplets, terms: Terms) -> Total:
    """Sum the loss of all triplets; memory is O(B·D) and one tile."""
    with distances.full_float32(z_BD.device):
        positive_BR, valid_BR, own_BK, negatives_B, semi_hard = triplets
        sum_, active = _Sum.apply(z_BD.float(), positive_BR, valid_BR, own_BK, semi_hard, terms)
        every = (valid_BR.sum(1) * negatives_B).sum().double()
        taken = active if semi_hard else every
        return Total(sum_, active, taken, every)


class _Sum(torch.autograd.Function):
    """Computes the gradient together with the sum, so the backward pass only scales it."""

    @staticmethod
    def forward(
        ctx: Any, z_BD: Tensor, positive_BR: Tensor, valid_BR: Tensor, own_BK: Tensor, semi_hard: bool, terms: Terms
    ) -> tuple[Tensor, Tensor]:
        batch = len(z_BD)
        rows = min(batch, distances.tile_rows(batch, z_BD.device))
        z_DB = z_BD.T.contiguous()
        gradient_BD = torch.zeros_like(z_BD)
        sum_ = z_BD.new_zeros((), dtype=torch.float64)
        active = torch.zeros_like(sum_)
        d_AB, slope_AB, term_AB = (z_BD.new_empty(rows, batch) for _ in range(3))
        for start in range(0, batch, rows):
            anchors = slice(start, min(start + rows, batch))
            height = anchors.stop - start
            tile = (d_AB[:height], slope_AB[:height], term_AB[:height])
            torch.mm(z_BD[anchors], z_DB, out=tile[0])
            sum_A, active_A, by_s_AB = _tile(
                *tile, positive_BR[anchors], valid_BR[anchors], own_BK[anchors], semi_hard, terms
            )
            sum_ += sum_A.double().sum()
            active += active_A.double().sum()
            gradient_BD[anchors] += by_s_AB @ z_BD
            gradient_BD.addmm_(by_s_AB.T, z_BD[anchors])
        ctx.save_for_backward(gradient_BD)
        ctx.mark_non_differentiable(active)
        return sum_, active

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_sum: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_BD,) = ctx.saved_tensors
        return gradient_BD * by_sum.to(gradient_BD.dtype), None, None, None, None, None


def _tile(
    s_AB: Tensor,
    slope_AB: Tensor,
    term_AB: Tensor,
    positive_AR: Tensor,
    valid_AR: Tensor,
    own_AK: Tensor,
    semi_hard: bool,
    terms: Terms,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return sum and active terms of each row, and the gradient by the dot products; overwrite three inputs."""
    d_AB = s_AB.mul_(-2).add_(2).clamp_min_(0)
    if terms.distance == "plain":
        d_AB.sqrt_()
    d_ap_AR = d_AB.gather(1, positive_AR)
    d_AB.scatter_(1, own_AK, torch.inf)
    limit_AR = d_ap_AR.masked_fill(~valid_AR, -torch.inf)
    sum_A, active_AR = torch.zeros_like(d_AB[:, 0]), torch.zeros_like(d_ap_AR)
    slope_AR = active_AR if not terms.soft else torch.zeros_like(d_ap_AR)
    slope_AB.zero_()
    evaluate = _soft_terms if terms.soft else _hinge_terms
    for pair in range(positive_AR.shape[1]):
        torch.sub(d_AB, limit_AR[:, pair : pair + 1], out=term_AB)
        sum_of_A, active_of_A, minus_AB = evaluate(term_AB, semi_hard, terms.margin)
        sum_A += sum_of_A
        active_AR[:, pair] = active_of_A
        if terms.soft:
            slope_AR[:, pair] = -minus_AB.sum(1)
        slope_AB += minus_AB

    by_d_ap_AR = slope_AR
    if terms.distance == "plain":  # d = √(2 − 2s), so ∂d/∂s = −1/d, which is taken as 0 where d is
        slope_AB.mul_(torch.threshold_(d_AB, 0.0, torch.inf).reciprocal_().neg_())
        by_d_ap_AR = by_d_ap_AR / torch.where(d_ap_AR > 0, d_ap_AR, torch.inf)
    else:
        slope_AB.mul_(-2)
        by_d_ap_AR = 2 * by_d_ap_AR
    return sum_A, active_AR.sum(1), slope_AB.scatter_add_(1, positive_AR, -by_d_ap_AR)


def _hinge_terms(beyond_AB: Tensor, semi_hard: bool, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return sum, number above 0 and slopes by d_an of [margin − beyond]₊ per row, with beyond = d_an − d_ap."""
    if semi_hard:  # before the margin is subtracted, which rounds a small difference away if the margin is large
        torch.threshold_(beyond_AB, 0.0, margin)
    minus_AB = beyond_AB.sub_(margin).clamp_max_(0)
    sum_A = -minus_AB.sum(1)
    minus_AB.sign_()
    return sum_A, -minus_AB.sum(1), minus_AB


def _soft_terms(beyond_AB: Tensor, semi_hard: bool, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return sum, number above 0 and slopes of softplus(−beyond)."""
    taken_AB = beyond_AB < torch.inf
    if semi_hard:
        taken_AB &= (beyond_AB > 0) & (beyond_AB < margin)
    excess_AB = beyond_AB.neg_()
    terms_AB = F.softplus(excess_AB).mul_(taken_AB)
    return terms_AB.sum(1), (terms_AB > 0).sum(1), excess_AB.sigmoid_().neg_().mul_(taken_AB)
