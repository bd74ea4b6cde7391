"""Circle loss: weights each pair by its distance from its optimum (Sun et al. 2020).

log(1 + Σ_n exp(γ α_n (s_n − m)) · Σ_p exp(−γ α_p (s_p − (1 − m)))) for each image, with the weights
α_p = [1 + m − s_p]₊ and α_n = [s_n + m]₊, which have no gradient (arXiv:2002.10857, eq. 5 and 6).

Shapes: B images, D embedding dimensions.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.losses.all_pairs import all_pairs, log_sum_exp, mean_over
from siamese_lab.losses.base import Loss, LossOutput, check_between, check_scale, register
from siamese_lab.losses.pairs import check_inputs


@register("circle")
class CircleLoss(Loss):
    """Computes the mean over the images with a positive and a negative. It needs the labels and no triplets.

    Args:
        margin: m (0…1), the distance of the similarities from their optima 0 and 1 at the boundary. The paper uses 0.4
            for the retrieval of fine-grained classes, and 0.25 for faces and persons.
        gamma: γ, the scale. The paper uses 80 for fine-grained classes, 128 for persons and 256 for faces.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> loss = CircleLoss()
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 0, 1])).value), 3)
    49.664
    """

    accepted_types = (NoTriplets,)

    def __init__(self, margin: float = 0.4, gamma: float = 80.0, **base: Any) -> None:
        super().__init__(**base)
        check_between("circle", "margin", margin, 0, 1)
        check_scale("circle", "gamma", gamma)
        self.margin = margin
        self.gamma = gamma

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels; exactly 0 if no image has both kinds of pairs."""
        check_inputs(selection, z_BD)
        with distances.full_float32(z_BD.device):
            pairs = all_pairs("circle", selection, z_BD, labels_B)
            s_BB = pairs.s_BB
            too_far_BB = (1 + self.margin - s_BB.detach()).relu() * (1 - self.margin - s_BB)
            too_near_BB = (s_BB.detach() + self.margin).relu() * (s_BB - self.margin)
            positives_B = log_sum_exp(self.gamma * too_far_BB, pairs.positive_BB)
            negatives_B = log_sum_exp(self.gamma * too_near_BB, pairs.negative_BB)
            return LossOutput(mean_over(F.softplus(positives_B + negatives_B), pairs.has_both_B()))
