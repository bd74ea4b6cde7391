"""The base of all losses: embeddings and triplets in, a scalar and its statistics out.

Shapes: B images, D embedding dimensions, T (anchor, positive) pairs, M negatives per pair.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from siamese_lab.batch import Triplets


class Loss(nn.Module, ABC):
    """A scalar that back-propagates into the embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self._statistics: dict[str, Tensor] = {}

    @abstractmethod
    def forward(self, z_BD: Tensor, triplets: Triplets) -> Tensor:
        """The loss of a batch of unit-norm embeddings, float32."""

    def statistics(self) -> dict[str, Tensor]:
        """Of the last call, as scalars on the device; at least `active_share`, the share of non-zero terms."""
        return self._statistics
