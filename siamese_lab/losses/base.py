"""The base of all losses: embeddings and triplets in, a scalar and its statistics out.

Shapes: C images (the batch, and what is remembered beside it), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from siamese_lab.batch import Triplets


class Loss(nn.Module, ABC):
    """A scalar that back-propagates into the embeddings."""

    accepts: tuple[type, ...] = (Triplets,)
    """What it can learn from, one of which must be what the sampler `gives`; `all` gives `EveryTriplet`."""

    def __init__(self) -> None:
        super().__init__()
        self._statistics: dict[str, Tensor] = {}

    @abstractmethod
    def forward(self, z_CD: Tensor, triplets: Triplets) -> Tensor:
        """The loss, float32, of the unit-norm embeddings that triplets point into (see `Sampler.pool`)."""

    def statistics(self) -> dict[str, Tensor]:
        """Of the last call, as scalars on the device; at least `active_share`, the share of non-zero terms."""
        return self._statistics
