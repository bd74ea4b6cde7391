"""Every valid triplet of a batch (Hermans et al. 2017, arXiv:1703.07737, §2, "batch all"), or every semi-hard one.

They are not listed: there are P·K·(K−1)·(P−1)·K of them. The loss goes through them tile by tile.
"""

from siamese_lab.batch import AllTriplets, Selection
from siamese_lab.samplers.base import Sampler, register
from siamese_lab.samplers.kernels.tiles import MiningInputs


@register("all")
class AllSampler(Sampler):
    """No selection at all.

    Args:
        semi_hard: only the triplets with d_ap < d_an < d_ap + margin, in the loss's own margin and distance.
        seed: of no effect, as nothing is drawn.
        images_per_class: see `Sampler`.
        negatives: of no effect, as all are taken.
        finite_only: see `Sampler`.
    """

    triplet_type = AllTriplets

    def __init__(
        self,
        semi_hard: bool = False,
        seed: int = 0,
        images_per_class: int | None = None,
        negatives: int = 1,
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
