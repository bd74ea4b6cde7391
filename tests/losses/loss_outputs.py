"""Apply a loss to triplets that a test lists itself.

Shapes: B images of the batch, D embedding dimensions.
"""

from torch import Tensor

from siamese_lab.batch import AllTriplets, Selection, Triplets
from siamese_lab.losses import Loss, LossOutput


def output_of(loss: Loss, z_BD: Tensor, triplets: Triplets | AllTriplets, labels_B: Tensor | None = None) -> LossOutput:
    """Return the output of a loss for triplets of a batch without remembered images."""
    return loss(Selection(triplets, z_BD.detach()), z_BD, labels_B)


def value_of(loss: Loss, z_BD: Tensor, triplets: Triplets | AllTriplets, labels_B: Tensor | None = None) -> Tensor:
    """Return only the scalar that back-propagates."""
    return output_of(loss, z_BD, triplets, labels_B).value
