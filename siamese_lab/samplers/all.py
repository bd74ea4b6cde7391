"""All valid triplets of a batch (Hermans et al. 2017, arXiv:1703.07737, §2, "batch all"), or all semi-hard triplets.

The triplets are not listed, because there are P·K·(K−1)·(P−1)·K. The loss processes them tile by tile.
"""

from siamese_lab.batch import AllTriplets, Selection
from siamese_lab.samplers.base import Sampler, register
from siamese_lab.samplers.kernels.tiles import MiningInputs


@register("all")
class AllSampler(Sampler):
    """Takes all triplets, without a selection.

    Args:
        semi_hard: take only triplets with d_ap < d_an < d_ap + margin, in the loss's own margin and distance.
        seed: has no effect, because nothing is drawn.
        images_per_class: see `Sampler`.
        num_negatives: has no effect, because all negatives are taken.
        finite_only: see `Sampler`.

    >>> import torch
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = AllSampler().mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> int(selection.triplets.number())
    8
    """

    triplet_type = AllTriplets

    def __init__(
        self,
        semi_hard: bool = False,
        seed: int = 0,
        images_per_class: int | None = None,
        num_negatives: int = 1,
        finite_only: bool = True,
    ) -> None:
        super().__init__(seed, images_per_class, finite_only=finite_only)
        self.semi_hard = semi_hard

    def select(self, inputs: MiningInputs) -> Selection:
        """Describe all triplets without listing them."""
        classes = inputs.classes
        valid_BR = classes.valid_BR if classes.replaced_BR is None else classes.valid_BR & ~classes.replaced_BR
        negatives_B = len(inputs.z_CD) - inputs.runs_of_batch().count_B
        every = AllTriplets(classes.positive_BR, valid_BR, classes.own_BK, negatives_B, self.semi_hard)
        return Selection(every, inputs.z_CD)
