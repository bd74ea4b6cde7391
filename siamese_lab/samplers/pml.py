"""Any miner of pytorch-metric-learning by name, so that published baselines run in the same harness.

The package is imported when such a strategy is built: see `siamese_lab.pml`.

Shapes: B images, D embedding dimensions, T triplets, each with M = 1 negative, P positive and N negative pairs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from siamese_lab import pml
from siamese_lab.batch import Pairs, Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.samplers.base import Sampler, registry
from siamese_lab.samplers.kernels.tiles import MiningInputs

LEFT_OUT: Mapping[str, str] = {"EmbeddingsAlreadyPackagedAsTriplets": "batches of the lab are not packed as triplets"}
"""Miners that the lab cannot use, each with the reason."""


@registry.register_library("pml")
class PMLSampler(Sampler):
    """Selects the triplets that a miner of pytorch-metric-learning returns, which may be any number, also none.

    Other strategies select `num_negatives` triplets for each (anchor, positive) pair. The statistic `triplets_per_pair`
    says how many the miner selected instead. A miner of pairs selects pairs, and the triplets are all combinations of
    a positive and a negative pair of one anchor; a loss of `loss=pml` gets the pairs themselves.

    Args:
        name: class in `pytorch_metric_learning.miners`.
        seed, images_per_class, finite_only: see `Sampler`.
        num_negatives: must be 1, because the miner decides how many negatives a pair has.
        **options: options of the class. `distance_name` names a class, and `distance_options` holds its options.

    Raises:
        UserError: if the package is not installed, or the name or an option is unknown.

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = PMLSampler("BatchHardMiner").mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 2, 1, 1]
    """

    def __init__(
        self,
        name: str,
        seed: int = 0,
        images_per_class: int | None = None,
        num_negatives: int = 1,
        finite_only: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(seed, images_per_class, finite_only=finite_only)
        if num_negatives != 1:
            raise UserError(
                f"sampler.name={name} of pytorch-metric-learning decides itself how many negatives a pair has. Set "
                f"sampler.num_negatives=1 instead of {num_negatives}."
            )
        with pml.seeded(seed):
            self.miner = pml.build(pml.find("miners", name, "sampler.name", LEFT_OUT), "sampler", options)

    def mine(
        self, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None = None, progress: float = 0.0
    ) -> Selection:
        """Select the triplets of a batch. Pairs of an image with its own repetition are dropped."""
        selection = super().mine(z_BD, labels_B, image_ids_B, progress)
        if image_ids_B is None:
            return selection
        triplets, pairs = selection.listed(), selection.pairs
        kept_T = image_ids_B[triplets.anchor_T] != image_ids_B[triplets.positive_T]
        selection = selection._replace(
            triplets=Triplets(*(each[kept_T] for each in triplets)),
            fallback_TM=torch.zeros_like(triplets.negative_TM[kept_T], dtype=torch.bool),
        )
        if pairs is None:
            return selection
        kept_P = image_ids_B[pairs.anchor_P] != image_ids_B[pairs.positive_P]
        return selection._replace(
            pairs=pairs._replace(anchor_P=pairs.anchor_P[kept_P], positive_P=pairs.positive_P[kept_P])
        )

    def select(self, inputs: MiningInputs) -> Selection:
        """Ask the miner for triplets or pairs of the batch."""
        seed = int(self.noise.uniform((1,), inputs.z_CD.device).mul(2**23))
        with pml.seeded(seed, inputs.z_CD.device):
            found = self.miner(inputs.z_CD, inputs.labels_C)
        pairs = Pairs(*found) if len(found) == 4 else None
        anchor_T, positive_T, negative_T = found if pairs is None else combined(pairs)
        triplets = Triplets(anchor_T, positive_T, negative_T[:, None])
        per_pair = len(anchor_T) / inputs.classes.valid_BR.sum()
        fallback_TM = torch.zeros_like(triplets.negative_TM, dtype=torch.bool)
        return Selection(triplets, inputs.z_CD, fallback_TM, {"triplets_per_pair": per_pair.float()}, pairs)


def combined(pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """Return every triplet of a positive and a negative pair of one anchor."""
    of_positive, of_negative = (pairs.anchor_P[:, None] == pairs.anchor_N).nonzero(as_tuple=True)
    return pairs.anchor_P[of_positive], pairs.positive_P[of_positive], pairs.negative_N[of_negative]
