"""Multi-similarity loss: weights a pair by its similarity and by the other pairs of its image (Wang et al. 2019).

1/B Σ_i [1/α log(1 + Σ_p exp(−α(s_ip − λ))) + 1/β log(1 + Σ_n exp(β(s_in − λ)))] over all positives p and negatives n
of each image i (arXiv:1904.06627, eq. 15). The paper first leaves out uninformative pairs (eq. 11 and 12), which
`epsilon` does here. `sampler=multi_similarity` is another thing: it selects triplets by the same rule, for losses that
learn from triplets.

Shapes: B images, D embedding dimensions.
"""

from typing import Any

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.all_pairs import AllPairs, all_pairs, log_one_plus_sum_exp
from siamese_lab.losses.base import Loss, LossOutput, check_between, check_scale, register
from siamese_lab.losses.pairs import check_inputs


@register("multi_similarity")
class MultiSimilarityLoss(Loss):
    """Computes the mean over the images of a batch; a part of an image without such pairs is 0. It needs the labels.

    The statistics report `informative_share`, the share of pairs that remain, if `epsilon` leaves out pairs.

    Args:
        alpha: α, the weight of the exponent of positive pairs. The paper uses 2.
        beta: β, the weight of the exponent of negative pairs. The paper uses 50.
        threshold: λ, the similarity between both (−1…1). The paper uses 1, the code of its authors 0.5.
        epsilon: ε of the paper's selection of pairs, a tolerance in similarity; None takes all pairs. The paper
            uses 0.1.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> loss = MultiSimilarityLoss()
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 0, 1])).value), 3)
    0.392
    """

    accepted_types = (NoTriplets,)

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        threshold: float = 1.0,
        epsilon: float | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_scale("multi-similarity", "alpha", alpha)
        check_scale("multi-similarity", "beta", beta)
        check_between("multi-similarity", "threshold", threshold, -1, 1)
        if epsilon is not None and not epsilon >= 0:
            raise UserError(
                f"The multi-similarity loss needs an epsilon of 0 or more, or null for all pairs, but it is {epsilon}."
            )
        self.alpha = alpha
        self.beta = beta
        self.threshold = threshold
        self.epsilon = epsilon

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels."""
        check_inputs(selection, z_BD)
        with distances.full_float32(z_BD.device):
            every = all_pairs("multi-similarity", selection, z_BD, labels_B)
            pairs = every if self.epsilon is None else informative(every, self.epsilon)
            above_BB = pairs.s_BB - self.threshold
            positives_B = log_one_plus_sum_exp(-self.alpha * above_BB, pairs.positive_BB) / self.alpha
            negatives_B = log_one_plus_sum_exp(self.beta * above_BB, pairs.negative_BB) / self.beta
            value = (positives_B + negatives_B).sum() / max(1, len(z_BD))
        if self.epsilon is None:
            return LossOutput(value)
        return LossOutput(value, {"informative_share": pairs.number() / every.number().clamp_min(1)})


def informative(pairs: AllPairs, epsilon: float) -> AllPairs:
    """Keep the negatives with s_in > min s_ip − ε and the positives with s_ip < max s_in + ε of each image.

    An image without positives keeps no negative, and the reverse.
    """
    s_BB, positive_BB, negative_BB = pairs
    s_BB = s_BB.detach()
    least_B1 = s_BB.masked_fill(~positive_BB, torch.inf).amin(1, keepdim=True)
    most_B1 = s_BB.masked_fill(~negative_BB, -torch.inf).amax(1, keepdim=True)
    return AllPairs(pairs.s_BB, positive_BB & (s_BB < most_B1 + epsilon), negative_BB & (s_BB > least_B1 - epsilon))
