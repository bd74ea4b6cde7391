"""Contrastive loss: ½ d² for a pair of one class, ½ [m − d]₊² for a pair of two (Hadsell et al. 2006, CVPR, §2.1).

Here each triplet contributes one pair of each kind: (anchor, positive) and (anchor, negative).

Shapes: C candidates (the batch of B, then remembered images), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from typing import Any

import torch
from torch import Tensor

from siamese_lab.batch import Selection
from siamese_lab.losses.base import Loss, LossOutput, Reduction, check_positive, check_reduction, reduce, register
from siamese_lab.losses.pairs import pair_distances, plain_distances


@register("contrastive")
class ContrastiveLoss(Loss):
    """Computes the mean over the 2·T·M pairs of all triplets, with plain distances.

    Args:
        margin: m, the distance (0…2) beyond which a negative contributes nothing.
        reduction: "mean" over all pairs, or "mean_active" over those with non-zero loss.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import Selection, Triplets
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    >>> round(float(ContrastiveLoss()(Selection(triplets, z_BD), z_BD).value), 3)
    0.234
    """

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean", **base: Any) -> None:
        super().__init__(**base)
        check_reduction(reduction)
        check_positive("contrastive", "margin", margin)
        self.margin = margin
        self.reduction = reduction

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch."""
        pairs = pair_distances(selection, z_BD)
        pull_T1 = pairs.d_ap_T1.square() / 2
        push_TM = (self.margin - pairs.d_an_TM).relu().square() / 2
        value, statistics = reduce(torch.stack([pull_T1.expand_as(push_TM), push_TM]), self.reduction)
        return LossOutput(value, statistics, plain_distances(pairs, "plain"))
