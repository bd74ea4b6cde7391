"""The base of all losses: a selection and the embeddings of its batch in, a scalar and its statistics out.

Shapes: B images of the batch, C candidates (the batch, then remembered images), D embedding dimensions, T (anchor,
positive) pairs, M negatives per pair.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from siamese_lab.batch import NO_STATISTICS, PairDistances, Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.registry import Registry

Reduction = Literal["mean", "mean_active"]
COLDEST = 1e-6
"""The lowest temperature: float32 products divided by a lower one overflow, or say nothing but which is the largest."""


class LossOutput(NamedTuple):
    """The result of a loss for one batch."""

    value: Tensor
    """Scalar that back-propagates."""
    statistics: Mapping[str, Tensor] = NO_STATISTICS
    """Scalars on the device, logged under `train/`; `active_share`, the share of non-zero terms, is displayed."""
    distances: PairDistances | None = None
    """Plain distances of the listed triplets, if the loss computed them; the training step computes them otherwise."""


class Reduced(NamedTuple):
    """Terms, reduced to a scalar, and their statistics."""

    value: Tensor
    statistics: dict[str, Tensor]


def check_positive(loss: str, option: str, value: float) -> None:
    """Raise UserError unless an option of a loss is a finite number above 0.

    An infinite margin or boundary would give an infinite loss.
    """
    if not 0 < value < math.inf:
        finite = "finite " if value == math.inf else ""
        raise UserError(f"The {loss} loss needs a {finite}{option} above 0, but it is {value}.")


def check_between(loss: str, option: str, value: float, least: float, most: float) -> None:
    """Raise UserError unless an option of a loss is a number of the closed interval."""
    if not least <= value <= most:
        raise UserError(f"The {loss} loss needs {option} from {least:g} to {most:g}, but it is {value}.")


def check_scale(loss: str, option: str, value: float) -> None:
    """Raise UserError unless a factor of the similarities is the inverse of an allowed temperature, or the reverse."""
    check_between(loss, option, value, COLDEST, 1 / COLDEST)


def check_temperature(loss: str, temperature: float) -> None:
    """Raise UserError unless a temperature is finite and at least COLDEST."""
    check_positive(loss, "temperature", temperature)
    if temperature < COLDEST:
        raise UserError(f"The {loss} loss needs a temperature of at least {COLDEST}, but it is {temperature}.")


def check_reduction(reduction: str) -> None:
    """Raise UserError unless `reduction` is one of the two means."""
    if reduction not in get_args(Reduction):
        raise UserError(f"reduction must be 'mean' or 'mean_active', but is {reduction!r}.")


class Loss(nn.Module, ABC):
    """A scalar that back-propagates into the embeddings and into the loss's own parameters.

    Args:
        classes: number of training classes, for a loss that learns something about each; labels count from 0.
        dimensions: D, the number of embedding dimensions, for a loss that learns vectors.
        seed: seed of the initial values of the loss's own parameters.
    """

    accepted_types: tuple[type, ...] = (Triplets,)
    """Types of triplets that the loss can learn from.

    A sampler states the type that it returns as `Sampler.triplet_type`: only `all` returns `AllTriplets`, and only
    `none` returns `NoTriplets`. A loss of labels only accepts `NoTriplets` alone.
    """
    needs_unit_norm = True
    """True if embeddings must have unit norm."""
    accepts_memory = True
    """True if negatives may be remembered embeddings."""
    learning_rate: float | None = None
    """Learning rate of the loss's own parameters; None uses the learning rate of the network."""
    equal_distance_value: float | None = None
    """The loss if all distances are equal, as in a collapse; None if the loss has no such value."""

    def __init__(self, classes: int | None = None, dimensions: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.dimensions = dimensions
        self.seed = seed

    @abstractmethod
    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch: float32, or float64 if the embeddings are float64.

        Args:
            selection: the result of `Sampler.mine` for this batch.
            z_BD: embeddings of the batch, with their gradient; of unit norm if `needs_unit_norm`.
            labels_B: int64 class labels, for losses that distinguish classes.
        """


registry: Registry[Loss] = Registry("loss")
register = registry.register
available = registry.available
build = registry.build


def reduce(terms: Tensor, reduction: Reduction = "mean") -> Reduced:
    """Return the mean over all terms or over the terms above 0, and the share above 0; exactly 0 without terms."""
    active = terms.detach() > 0
    count = active.sum().clamp_min(1) if reduction == "mean_active" else max(1, active.numel())
    return Reduced(terms.sum() / count, {"active_share": active.sum() / max(1, active.numel())})
