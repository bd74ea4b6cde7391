"""What an evaluation finds: figures by protocol, each with its interval, and what pictures are drawn from.

Shapes: N images, D embedding dimensions.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from siamese_lab.data.tables.base import BaseTable
from siamese_lab.metrics.verification import Roc


class Figure(NamedTuple):
    """A number, and the 95% interval around it where there is one."""

    value: float | None
    """None where it cannot be told from so few images."""
    low: float | None = None
    high: float | None = None
    share: bool = True
    """Whether it is a share of something, 0…1, to be shown in per cent."""


@dataclass(frozen=True)
class Protocol:
    """One way to measure, stated."""

    title: str
    how: str
    """In a sentence that a paper could take over."""
    figures: dict[str, Figure]
    over: str | None = None
    """What the intervals are over: classes, runs or episodes."""
    facts: dict[str, Any] = field(default_factory=dict)
    """How many pairs, which threshold, and the like."""


class ClassFigures(NamedTuple):
    """What the images of one class found."""

    name: str
    images: int
    recall_at_1: float
    r_precision: float
    map_at_r: float


@dataclass
class Evaluation:
    """All protocols, and the embeddings they were computed from."""

    table: BaseTable
    """The images."""
    z_ND: Tensor
    """Their embeddings, of unit norm."""
    protocols: dict[str, Protocol] = field(default_factory=dict)
    classes: list[ClassFigures] = field(default_factory=list)
    """Of every class with at least two images, the worst first."""
    curves: dict[str, Roc] = field(default_factory=dict)
    """Of the protocols of verification, by their titles."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Protocols that could not be followed, and why."""
    seconds: dict[str, float] = field(default_factory=dict)
