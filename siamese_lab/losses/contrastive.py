"""Contrastive loss: ½ d² of a pair of one class, ½ [m − d]₊² of a pair of two (Hadsell et al. 2006, CVPR, §2.1).

Here each triplet brings one pair of either kind: (anchor, positive) and (anchor, negative).

Shapes: C images (the batch of B, and what is remembered beside it), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from typing import Any

import torch
from torch import Tensor

from siamese_lab.batch import Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.base import Loss, LossOutput, Reduction, check_reduction, reduce, register
from siamese_lab.losses.pairs import pair_distances, plain_distances


@register("contrastive")
class ContrastiveLoss(Loss):
    """Mean over the 2·T·M pairs of all triplets; distances are plain.

    Args:
        margin: m, the distance (0…2) beyond which a negative is left alone.
        reduction: "mean" over all pairs, or "mean_active" over those with non-zero loss.
        **base: see `Loss`.
    """

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean", **base: Any) -> None:
        super().__init__(**base)
        check_reduction(reduction)
        if not margin > 0:
            raise UserError(f"The contrastive loss needs a margin above 0, but it is {margin}.")
        self.margin = margin
        self.reduction = reduction

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch."""
        pairs = pair_distances(selection, z_BD)
        pull_T1 = pairs.d_ap_T1.square() / 2
        push_TM = (self.margin - pairs.d_an_TM).relu().square() / 2
        value, statistics = reduce(torch.stack([pull_T1.expand_as(push_TM), push_TM]), self.reduction)
        return LossOutput(value, statistics, plain_distances(pairs, "plain"))
