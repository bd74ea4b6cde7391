"""The base of all losses: embeddings and triplets in, a scalar and its statistics out.

Shapes: C images (the batch of B, and what is remembered beside it), D embedding dimensions, T (anchor, positive) pairs,
M negatives per pair.
"""

from abc import ABC, abstractmethod
from typing import Literal, get_args

from torch import Tensor, nn

from siamese_lab.batch import Triplets
from siamese_lab.errors import UserError

Reduction = Literal["mean", "mean_active"]


def check_reduction(reduction: str) -> None:
    """Raise UserError unless `reduction` is one of the two means."""
    if reduction not in get_args(Reduction):
        raise UserError(f"reduction must be 'mean' or 'mean_active', but is {reduction!r}.")


class Loss(nn.Module, ABC):
    """A scalar that back-propagates into the embeddings, and into what the loss itself learns.

    Args:
        classes: how many are trained on, for a loss that learns something about each; labels count from 0.
    """

    accepts: tuple[type, ...] = (Triplets,)
    """What it can learn from, one of which must be what the sampler `gives`; `all` gives `EveryTriplet`."""
    of_unit_norm = True
    """Whether embeddings must lie on the unit sphere."""
    learning_rate: float | None = None
    """Of the loss's own parameters; None is the network's."""

    def __init__(self, classes: int | None = None) -> None:
        super().__init__()
        self.classes = classes
        self._statistics: dict[str, Tensor] = {}

    @abstractmethod
    def forward(self, z_CD: Tensor, triplets: Triplets, labels_B: Tensor | None = None) -> Tensor:
        """The loss of a batch: float32, or float64 of float64 embeddings.

        Args:
            z_CD: embeddings that triplets point into (see `Sampler.pool`), of unit norm where `of_unit_norm`.
            triplets: as a sampler selects them.
            labels_B: the images' classes, for losses that tell classes apart.
        """

    def reduce(self, terms: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The mean over all terms, or over those above 0, noting the share of these; exactly 0 where there are none."""
        active = terms.detach() > 0
        self._statistics = {"active_share": active.sum() / max(1, active.numel())}
        count = active.sum().clamp_min(1) if reduction == "mean_active" else max(1, active.numel())
        return terms.sum() / count

    def statistics(self) -> dict[str, Tensor]:
        """Of the last call, as scalars on the device; at least `active_share`, the share of non-zero terms."""
        return self._statistics
