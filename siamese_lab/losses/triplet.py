"""Triplet loss: [d_ap − d_an + m]₊ (Schroff et al. 2015, arXiv:1503.03832, §3.1), or its soft form.

Hermans et al. (arXiv:1703.07737, §2) replace the hinge by softplus(d_ap − d_an), which never stops pulling.

Shapes: C images (the batch, and what is remembered beside it), D embedding dimensions, T (anchor, positive) pairs, M
negatives per pair.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import EveryTriplet, Triplets
from siamese_lab.losses import every_triplet
from siamese_lab.losses.base import Loss
from siamese_lab.losses.registry import register


@register("triplet")
class TripletLoss(Loss):
    """Mean over all T·M triplets; no active triplet gives exactly 0, which still back-propagates.

    Args:
        margin: m, in units of `distance`; the soft form has none (semi-hard mining still takes its window from here).
        soft: take softplus(d_ap − d_an) instead of the hinge.
        distance: "plain" (0…2) or "squared" (0…4).
        reduction: "mean" over all triplets, or "mean_active" over those with non-zero loss.
    """

    accepts = (Triplets, EveryTriplet)

    def __init__(
        self,
        margin: float = 0.2,
        soft: bool = False,
        distance: distances.Kind = "plain",
        reduction: Literal["mean", "mean_active"] = "mean",
    ) -> None:
        super().__init__()
        distances.check_kind(distance)
        if reduction not in ("mean", "mean_active"):
            raise ValueError(f"reduction must be 'mean' or 'mean_active', but is {reduction!r}.")
        if not margin > 0:
            raise ValueError(f"The triplet loss needs a margin above 0, but it is {margin}.")
        self.margin = margin
        self.soft = soft
        self.distance = distance
        self.reduction = reduction

    def forward(self, z_CD: Tensor, triplets: Triplets | EveryTriplet) -> Tensor:
        """The loss of a batch; on a CPU the gradients of `index_select`, unlike indexing's, add up in a fixed order."""
        if isinstance(triplets, EveryTriplet):
            return self.of_every(z_CD, triplets)
        anchor_TD = z_CD.index_select(0, triplets.anchor_T)
        positive_TD = z_CD.index_select(0, triplets.positive_T)
        negative_TMD = z_CD.index_select(0, triplets.negative_TM.flatten()).unflatten(0, triplets.negative_TM.shape)
        d_ap_T = distances.rowwise(anchor_TD, positive_TD, self.distance)
        d_an_TM = distances.rowwise(anchor_TD[:, None], negative_TMD, self.distance)
        return self.reduce(self.terms(d_ap_T[:, None] - d_an_TM))

    def terms(self, excess_TM: Tensor) -> Tensor:
        """The loss of each triplet, from d_ap − d_an."""
        if self.soft:
            return F.softplus(excess_TM)
        return (excess_TM + self.margin).relu()

    def reduce(self, terms_TM: Tensor) -> Tensor:
        """The mean as chosen, noting the share of active triplets."""
        active_TM = terms_TM.detach() > 0
        self._statistics = {"active_share": active_TM.float().mean()}
        if self.reduction == "mean_active":
            return terms_TM.sum() / active_TM.sum().clamp_min(1)
        return terms_TM.mean()

    def of_every(self, z_BD: Tensor, triplets: EveryTriplet) -> Tensor:
        """The mean over every triplet, or every semi-hard one, noting both means."""
        terms = every_triplet.Terms(self.margin, self.soft, self.distance)
        total = every_triplet.total(z_BD, triplets, terms)
        means = {
            "mean": (total.sum / total.taken.clamp_min(1)).float(),
            "mean_active": (total.sum / total.active.clamp_min(1)).float(),
        }
        self._statistics = {
            "active_share": (total.active / total.all).float(),
            "mean_of_all": means["mean"].detach(),
            "mean_of_active": means["mean_active"].detach(),
        }
        return means[self.reduction]
