"""N-pair loss: compares the positive with all negatives of its pair at once (Sohn 2016, NeurIPS, §3).

Cross-entropy of −log(exp(s_ap/τ) / (exp(s_ap/τ) + Σ_M exp(s_an/τ))) = softplus(log Σ_M exp((s_an − s_ap)/τ)) over
dot products s. The paper does not normalize embeddings (τ = 1); an L2 penalty limits their norm.

Shapes: C candidates (the batch of B, then remembered images), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import PairDistances, Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.base import Loss, LossOutput, check_temperature, reduce, register
from siamese_lab.losses.pairs import check_inputs, pair_similarities


@register("n_pair")
class NPairLoss(Loss):
    """Computes the mean cross-entropy over the T pairs, which is always above 0.

    Args:
        temperature: τ, the divisor of the dot products.
        l2_penalty: None expects unit-norm embeddings; a number allows any norm (`network.normalize=false`)
            and adds this multiple of the mean of ‖z‖² over the batch.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import Selection, Triplets
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    >>> round(float(NPairLoss()(Selection(triplets, z_BD), z_BD).value), 3)
    2.127
    """

    def __init__(self, temperature: float = 0.1, l2_penalty: float | None = None, **base: Any) -> None:
        super().__init__(**base)
        check_temperature("N-pair", temperature)
        if l2_penalty is not None and not 0 <= l2_penalty < math.inf:
            raise UserError(f"l2_penalty must be 0 or more, or null for unit-norm embeddings, but is {l2_penalty}.")
        self.temperature = temperature
        self.l2_penalty = l2_penalty
        self.needs_unit_norm = l2_penalty is None

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch; an `l2_penalty` excludes remembered embeddings, which have unit norm."""
        check_inputs(selection, z_BD)
        candidates = len(selection.candidates_CD)
        if self.l2_penalty is not None and candidates != len(z_BD):
            raise UserError(
                f"With an l2_penalty the N-pair loss takes the {len(z_BD)} embeddings of the batch alone, but got "
                f"{candidates}: remembered ones have unit norm. Set loss.l2_penalty=null, or use a sampler without a "
                "memory."
            )
        pairs = pair_similarities(selection, z_BD)
        odds_T = ((pairs.s_an_TM - pairs.s_ap_T1) / self.temperature).logsumexp(1)
        value, statistics = reduce(F.softplus(odds_T))
        if self.l2_penalty is not None:
            return LossOutput(value + self.l2_penalty * distances.dot(z_BD, z_BD).mean(), statistics)
        plain_pairs = PairDistances(*(distances.from_similarity(each.detach()) for each in pairs))
        return LossOutput(value, statistics, plain_pairs)
