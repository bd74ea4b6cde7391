"""N-pair loss: the positive against all negatives of its pair at once (Sohn 2016, NeurIPS, §3).

Cross-entropy of −log(exp(s_ap/τ) / (exp(s_ap/τ) + Σ_M exp(s_an/τ))) = softplus(log Σ_M exp((s_an − s_ap)/τ)) over
dot products s. The paper leaves embeddings as long as they come (τ = 1) and keeps them short by a penalty.

Shapes: C images (the batch of B, and what is remembered beside it), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Triplets
from siamese_lab.errors import UserError
from siamese_lab.losses.base import Loss
from siamese_lab.losses.pairs import pair_products
from siamese_lab.losses.registry import register


@register("n_pair")
class NPairLoss(Loss):
    """Mean over the T pairs of the cross-entropy of each, which is never quite 0.

    Args:
        temperature: τ, by which dot products are divided.
        l2_penalty: None takes unit-norm embeddings; a number takes embeddings of any length (`network.normalize=false`)
            and adds that many times the mean of ‖z‖² over the batch.
        **base: see `Loss`.
    """

    def __init__(self, temperature: float = 0.1, l2_penalty: float | None = None, **base: Any) -> None:
        super().__init__(**base)
        if not temperature > 0:
            raise UserError(f"The N-pair loss needs a temperature above 0, but it is {temperature}.")
        if l2_penalty is not None and not l2_penalty >= 0:
            raise UserError(f"l2_penalty must be 0 or more, or null for unit-norm embeddings, but is {l2_penalty}.")
        self.temperature = temperature
        self.l2_penalty = l2_penalty
        self.of_unit_norm = l2_penalty is None

    def forward(self, z_CD: Tensor, triplets: Triplets, labels_B: Tensor | None = None) -> Tensor:
        """The loss of a batch; remembered embeddings have unit norm, so they do not go with an `l2_penalty`."""
        if self.l2_penalty is not None and labels_B is not None and len(z_CD) != len(labels_B):
            raise UserError(
                f"With an l2_penalty the N-pair loss takes the {len(labels_B)} embeddings of the batch alone, but got "
                f"{len(z_CD)}: remembered ones have unit norm. Take l2_penalty=None, or a sampler without a memory."
            )
        s_ap_T1, s_an_TM = pair_products(z_CD, triplets)
        odds_T = ((s_an_TM - s_ap_T1) / self.temperature).logsumexp(1)
        cross_entropy = self.reduce(F.softplus(odds_T))
        if self.l2_penalty is None:
            return cross_entropy
        return cross_entropy + self.l2_penalty * distances.dot(z_CD, z_CD).mean()
