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
from siamese_lab.losses.expansion import expanded_similarities
from siamese_lab.losses.pairs import check_inputs, check_labels, pair_similarities


@register("n_pair")
class NPairLoss(Loss):
    """Computes the mean cross-entropy over the T pairs, which is always above 0.

    Args:
        temperature: τ, the divisor of the dot products.
        l2_penalty: None expects unit-norm embeddings; a number allows any norm (`network.normalize=false`)
            and adds this multiple of the mean of ‖z‖² over the batch.
        expansion: number of synthetic points on the line between a negative and each image of its class (module
            `expansion`). The anchor is compared with the most similar of them. 0 compares it with the negative only.
        **base: see `Loss`.

    >>> import torch
    >>> from siamese_lab.batch import Selection, Triplets
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    >>> round(float(NPairLoss()(Selection(triplets, z_BD), z_BD).value), 3)
    2.127
    """

    def __init__(
        self, temperature: float = 0.1, l2_penalty: float | None = None, expansion: int = 0, **base: Any
    ) -> None:
        super().__init__(**base)
        check_temperature("N-pair", temperature)
        if l2_penalty is not None and not 0 <= l2_penalty < math.inf:
            raise UserError(f"l2_penalty must be 0 or more, or null for unit-norm embeddings, but is {l2_penalty}.")
        if expansion < 0 or (expansion and l2_penalty is not None):
            raise UserError(
                f"The N-pair loss needs an expansion of 0 or more points, and 0 with an l2_penalty, because points of "
                f"embeddings of any norm are not defined. It is {expansion}, and l2_penalty is {l2_penalty}."
            )
        self.temperature = temperature
        self.expansion = expansion
        self.accepts_memory = not expansion
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
        s_an_TM = self._expanded(selection, z_BD, labels_B) if self.expansion else pairs.s_an_TM
        odds_T = ((s_an_TM - pairs.s_ap_T1) / self.temperature).logsumexp(1)
        value, statistics = reduce(F.softplus(odds_T))
        if self.l2_penalty is not None:
            return LossOutput(value + self.l2_penalty * distances.dot(z_BD, z_BD).mean(), statistics)
        plain_pairs = PairDistances(*(distances.from_similarity(each.detach()) for each in pairs))
        return LossOutput(value, statistics, plain_pairs)

    def _expanded(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None) -> Tensor:
        """Return the similarity of each anchor to its negatives, or to the most similar point of their expansion."""
        if len(selection.candidates_CD) != len(z_BD):
            raise UserError("The N-pair loss expands the batch alone. Set loss.expansion=0, or use no memory.")
        triplets = selection.listed()
        s_BB = expanded_similarities(z_BD, check_labels("N-pair", z_BD, labels_B), self.expansion)
        place_TM = triplets.anchor_T[:, None] * len(z_BD) + triplets.negative_TM
        return s_BB.flatten().index_select(0, place_TM.flatten()).unflatten(0, triplets.negative_TM.shape)
