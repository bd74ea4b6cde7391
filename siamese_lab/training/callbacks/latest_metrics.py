"""Keep the latest metrics of each stage for the code that starts a validation or a test."""

from collections.abc import Mapping

from lightning import Callback, Trainer

from siamese_lab.training.stage_metrics import Stage, StageMetrics


class LatestMetrics(Callback):
    """Keeps the metrics of the latest validation and of the latest test by stage, such as `values["test"]`."""

    def __init__(self) -> None:
        self.values: dict[Stage, Mapping[str, float]] = {}

    def on_metrics(self, trainer: Trainer, metrics: StageMetrics) -> None:
        """Replace the metrics of the stage."""
        self.values[metrics.stage] = metrics.values
