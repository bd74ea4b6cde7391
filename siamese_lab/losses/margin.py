"""Margin-based loss: [d_ap − β + α]₊ + [β − d_an + α]₊ (Wu et al. 2017, arXiv:1706.07567, §4).

β is the learned distance that separates positives from negatives; α is the margin on both sides of β.

Shapes: C candidates (the batch of B, then remembered images), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from typing import Any

import torch
from torch import Tensor, nn

from siamese_lab import distances
from siamese_lab.batch import Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.base import Loss, LossOutput, check_positive, reduce, register
from siamese_lab.losses.pairs import pair_distances, plain_distances


@register("margin")
class MarginLoss(Loss):
    """Divides the sum of both terms of all T·M triplets by the number of non-zero terms; exactly 0 if all terms are 0.

    The statistics also report `beta_mean`.

    Args:
        margin: α, in units of `distance`.
        beta: initial β, in units of `distance`.
        beta_per_class: learn one β per class of the anchor, which needs labels, instead of one β for all classes.
        beta_lr: learning rate of β, to which no weight decay applies.
        distance: "plain" (0…2) or "squared" (0…4).
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import Selection, Triplets
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    >>> round(float(MarginLoss()(Selection(triplets, z_BD), z_BD).value.detach()), 3)
    0.768
    """

    def __init__(
        self,
        margin: float = 0.2,
        beta: float = 1.2,
        beta_per_class: bool = False,
        beta_lr: float = 1e-3,
        distance: distances.Kind = "plain",
        **base: Any,
    ) -> None:
        super().__init__(**base)
        distances.check_kind(distance)
        for name, value in (("margin", margin), ("beta", beta)):
            check_positive("margin", name, value)
        if not beta_lr >= 0:
            raise UserError(f"The margin loss needs a beta_lr of 0 or more, but it is {beta_lr}.")
        if not beta_per_class:
            start = torch.tensor(beta)
        elif self.classes is None:
            raise UserError("beta_per_class=true needs to know how many classes there are: give classes, too.")
        else:
            start = torch.full((self.classes,), beta)
        self.margin = margin
        self.beta_per_class = beta_per_class
        self.learning_rate = beta_lr
        self.distance = distance
        self.beta = nn.Parameter(start)

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch; only a β per class needs `labels_B`."""
        pairs = pair_distances(selection, z_BD, self.distance)
        beta_T1 = self.beta_of(selection.listed().anchor_T, labels_B)
        too_far_T1 = (pairs.d_ap_T1 - beta_T1 + self.margin).relu()
        too_near_TM = (beta_T1 - pairs.d_an_TM + self.margin).relu()
        value, statistics = reduce(torch.stack([too_far_T1.expand_as(too_near_TM), too_near_TM]), "mean_active")
        statistics["beta_mean"] = self.beta.detach().mean()
        return LossOutput(value, statistics, plain_distances(pairs, self.distance))

    def beta_of(self, anchor_T: Tensor, labels_B: Tensor | None) -> Tensor:
        """Return β of each anchor (T, 1), or the common β (1, 1)."""
        if not self.beta_per_class:
            return self.beta.view(1, 1)
        if labels_B is None:
            raise UserError("A β per class needs the labels of the batch: loss(selection, z_BD, labels_B).")
        if labels_B.ndim != 1 or labels_B.is_floating_point():
            raise ValueError(f"labels must be integers (B,), but are {labels_B.dtype} {tuple(labels_B.shape)}.")
        return self.beta.index_select(0, labels_B.index_select(0, anchor_T))[:, None]
