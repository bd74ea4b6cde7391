"""No selection, for losses that use labels only, such as `softmax`: the reference without any triplets."""

from torch import Tensor

from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.samplers.base import Sampler, register
from siamese_lab.samplers.kernels.tiles import MiningInputs


@register("none")
class NoSampler(Sampler):
    """Selects nothing. The batches are those of every other strategy.

    Args:
        seed: has no effect, because nothing is drawn.
        images_per_class: see `Sampler`.
        num_negatives: has no effect, because no negative is selected.
        finite_only: see `Sampler`.

    >>> import torch
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = NoSampler().mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> int(selection.triplets.number())
    0
    """

    triplet_type = NoTriplets

    def __init__(
        self,
        seed: int = 0,
        images_per_class: int | None = None,
        num_negatives: int = 1,
        finite_only: bool = True,
    ) -> None:
        super().__init__(seed, images_per_class, finite_only=finite_only)

    def mine(
        self, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None = None, progress: float = 0.0
    ) -> Selection:
        """Return the batch without triplets, with the ids of its images, for losses that compare all images."""
        selection = super().mine(z_BD, labels_B, image_ids_B, progress)
        return selection._replace(triplets=NoTriplets(image_ids_B))

    def select(self, inputs: MiningInputs) -> Selection:
        """Return the batch without triplets."""
        return Selection(NoTriplets(), inputs.z_CD)
