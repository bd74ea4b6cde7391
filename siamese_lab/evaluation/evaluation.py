"""The result of an evaluation: metric values with intervals for each protocol, and the data that pictures need.

Shapes: N images, D embedding dimensions.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from siamese_lab.data.tables.base import BaseTable
from siamese_lab.metrics.verification import Roc
from siamese_lab.query_gallery import QueryGallery


class MetricValue(NamedTuple):
    """The value of a metric, with a 95% interval if there is one."""

    value: float | None
    """Value, or None if there are too few images to compute it."""
    low: float | None = None
    high: float | None = None
    is_fraction: bool = True
    """True if the value is a fraction (0…1) that is shown in percent."""


@dataclass(frozen=True)
class Protocol:
    """The results of one evaluation protocol, with a description of the protocol."""

    title: str
    how: str
    """Description in full sentences, ready for a paper."""
    figures: dict[str, MetricValue]
    over: str | None = None
    """Unit that is resampled for the intervals: classes, runs or episodes."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Settings and counts, such as the number of pairs and the threshold."""


class ClassFigures(NamedTuple):
    """The retrieval results of one class: the means over the images of the class, as queries."""

    name: str
    images: int
    recall_at_1: float
    r_precision: float
    map_at_r: float


@dataclass
class Evaluation:
    """The results of all protocols, and the embeddings that they were computed from."""

    table: BaseTable
    """The test images."""
    z_ND: Tensor
    """Embeddings of the test images, of unit norm."""
    roles: QueryGallery | None = None
    """Queries, gallery and groups among the test images; None if every image has both roles."""
    protocols: dict[str, Protocol] = field(default_factory=dict)
    classes: list[ClassFigures] = field(default_factory=list)
    """Retrieval results of every class with at least two images, the worst class first."""
    curves: dict[str, Roc] = field(default_factory=dict)
    """ROC curves of the verification protocols, by the title of the protocol."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Protocols that could not be evaluated, with the reason."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each stage, by its name."""
