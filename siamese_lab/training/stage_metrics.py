"""The metrics of a validation or test, as values that the module passes to callbacks when it has computed them.

Names with a stage, such as `validation/recall@1`, exist only for loggers and for Lightning's `monitor`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from lightning import Callback, Trainer
from torch import Tensor

from siamese_lab.metrics.health import Spread
from siamese_lab.metrics.retrieval import ClassRetrieval

Stage = Literal["validation", "test"]


NO_CLASSES: Mapping[str, ClassRetrieval] = MappingProxyType({})


class StageMetrics(NamedTuple):
    """The metrics of one validation or of one test."""

    stage: Stage
    values: Mapping[str, float]
    """Values with float32 precision by the name of the metric, such as `recall@1`; NaN if undefined."""
    per_class: Mapping[str, ClassRetrieval] = NO_CLASSES
    """The retrieval results of each class, by its name; only of the test, and empty for very many classes."""
    spread: Spread | None = None
    """Distances and directions of the test embeddings; None in other stages."""


@runtime_checkable
class MetricsListener(Protocol):
    """Describes a callback that gets the metrics of every validation and test."""

    def on_metrics(self, trainer: Trainer, metrics: StageMetrics) -> None:
        """Receive the metrics before `on_validation_end` or `on_test_end`; `trainer.state.fn` is the loop."""


def stage_metrics(stage: Stage, values: Mapping[str, Tensor | float]) -> StageMetrics:
    """Return the metrics of a stage as numbers, rounded to float32 as loggers get them."""
    numbers = {name: float(torch.as_tensor(value, dtype=torch.float32)) for name, value in values.items()}
    return StageMetrics(stage, numbers)


class LatestMetrics(Callback):
    """Keeps the metrics of the latest validation and of the latest test by stage, such as `values["test"]`."""

    def __init__(self) -> None:
        self.values: dict[Stage, Mapping[str, float]] = {}
        self.latest: dict[Stage, StageMetrics] = {}

    def on_metrics(self, trainer: Trainer, metrics: StageMetrics) -> None:
        """Replace the metrics of the stage."""
        self.values[metrics.stage] = metrics.values
        self.latest[metrics.stage] = metrics
