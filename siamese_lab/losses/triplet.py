"""Triplet loss: [d_ap − d_an + m]₊ (Schroff et al. 2015, arXiv:1503.03832, §3.1), or its soft form.

Hermans et al. (arXiv:1703.07737, §2) replace the hinge by softplus(d_ap − d_an), which always has a gradient.

Shapes: C candidates (the batch of B, then remembered images), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import AllTriplets, Selection, Triplets
from siamese_lab.losses import every_triplet
from siamese_lab.losses.base import Loss, LossOutput, Reduction, check_positive, check_reduction, reduce, register
from siamese_lab.losses.pairs import check_inputs, pair_distances, plain_distances


@register("triplet")
class TripletLoss(Loss):
    """Computes the mean over all T·M triplets. Without an active triplet it is exactly 0 and still back-propagates.

    Args:
        margin: m, in units of `distance`; the soft form has none (semi-hard mining still takes its window from here).
        soft: take softplus(d_ap − d_an) instead of the hinge.
        distance: "plain" (0…2) or "squared" (0…4).
        reduction: "mean" over all triplets, or "mean_active" over those with non-zero loss.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import Selection, Triplets
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    >>> round(float(TripletLoss()(Selection(triplets, z_BD), z_BD).value), 3)
    0.462
    """

    accepted_types = (Triplets, AllTriplets)

    def __init__(
        self,
        margin: float = 0.2,
        soft: bool = False,
        distance: distances.Kind = "plain",
        reduction: Reduction = "mean",
        **base: Any,
    ) -> None:
        super().__init__(**base)
        distances.check_kind(distance)
        check_reduction(reduction)
        check_positive("triplet", "margin", margin)
        self.margin = margin
        self.soft = soft
        self.distance = distance
        self.reduction = reduction
        self.equal_distance_value = math.log(2) if soft else margin

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch, over the listed triplets or over all triplets."""
        check_inputs(selection, z_BD)
        if isinstance(selection.triplets, AllTriplets):
            return self.over_all(z_BD, selection.triplets)
        pairs = pair_distances(selection, z_BD, self.distance)
        value, statistics = reduce(self.terms(pairs.d_ap_T1 - pairs.d_an_TM), self.reduction)
        return LossOutput(value, statistics, plain_distances(pairs, self.distance))

    def terms(self, excess_TM: Tensor) -> Tensor:
        """Compute the loss of each triplet from d_ap − d_an."""
        if self.soft:
            return F.softplus(excess_TM)
        return (excess_TM + self.margin).relu()

    def over_all(self, z_BD: Tensor, triplets: AllTriplets) -> LossOutput:
        """Return the chosen mean over all triplets, and both means as statistics.

        "mean" covers the triplets that are taken: all triplets, or the semi-hard triplets.
        """
        terms = every_triplet.Terms(self.margin, self.soft, self.distance)
        total = every_triplet.total(z_BD, triplets, terms)
        means = {
            "mean": (total.sum / total.taken.clamp_min(1)).float(),
            "mean_active": (total.sum / total.active.clamp_min(1)).float(),
        }
        statistics = {
            "active_share": (total.active / total.all).float(),
            "mean_of_all": means["mean"].detach(),
            "mean_of_active": means["mean_active"].detach(),
        }
        return LossOutput(means[self.reduction], statistics)
