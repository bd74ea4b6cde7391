"""Supervised contrastive loss: finds the positives of an image among all other images (Khosla et al. 2020).

−1/|P(i)| Σ_p log(exp(s_ip/τ) / Σ_a exp(s_ia/τ)), where p are the positives of image i, and a all its positives and
negatives (arXiv:2004.11362, eq. 2, L_out, which has the sum outside of the logarithm).

Shapes: B images, D embedding dimensions.
"""

from typing import Any

from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.losses.all_pairs import all_pairs, log_sum_exp, mean_over
from siamese_lab.losses.base import Loss, LossOutput, check_temperature, register
from siamese_lab.losses.pairs import check_inputs


@register("supcon")
class SupConLoss(Loss):
    """Computes the mean over the images with a positive, where the paper has the sum. It needs the labels.

    Args:
        temperature: τ, the divisor of the dot products. The paper uses 0.1.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> loss = SupConLoss()
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 0, 1])).value), 3)
    2.877
    """

    accepted_types = (NoTriplets,)

    def __init__(self, temperature: float = 0.1, **base: Any) -> None:
        super().__init__(**base)
        check_temperature("supervised contrastive", temperature)
        self.temperature = temperature

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels; exactly 0 without any positive."""
        check_inputs(selection, z_BD)
        with distances.full_float32(z_BD.device):
            pairs = all_pairs("supervised contrastive", selection, z_BD, labels_B)
            logits_BB = pairs.s_BB / self.temperature
            positives_B = pairs.positive_BB.sum(1)
            own_B = (logits_BB * pairs.positive_BB).sum(1) / positives_B.clamp_min(1)
            every_B = log_sum_exp(logits_BB, pairs.positive_BB | pairs.negative_BB)
            return LossOutput(mean_over(every_B - own_B, positives_B > 0))
