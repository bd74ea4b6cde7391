"""End a trial of a tuning early if its validation Recall@1 lags behind earlier trials (Golovin et al. 2017, §3.2.2)."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer

from siamese_lab.runs.plain_values import of_type
from siamese_lab.training.stage_metrics import StageMetrics

CURVE = "recall@1"
"""The validation metric that decides, whatever metric scores the trials."""


class PruneTrial(Callback):
    """Ends training at a validation if the best value so far is below a median of earlier trials at this step.

    Args:
        medians: the median by the number of steps; a step without a median ends nothing.
    """

    def __init__(self, medians: Mapping[int, float]) -> None:
        self.medians = dict(medians)
        self.best: float | None = None
        self.pruned: dict[str, float] | None = None
        """The `step` at which training ended, the `best` value until then, and the `median`; None if it did not."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a resumed trial that was pruned before it was interrupted."""
        if self.pruned is not None:
            trainer.should_stop = True

    def on_metrics(self, trainer: Trainer, metrics: StageMetrics) -> None:
        """Compare the best value so far with the median, if the validation belongs to training."""
        if metrics.stage != "validation" or trainer.state.fn != "fit":
            return
        step, value = trainer.global_step, metrics.values[CURVE]
        self.best = value if self.best is None else max(self.best, value)
        median = self.medians.get(step)
        if median is not None and self.best < median and step < trainer.max_steps:
            self.pruned = {"step": step, "best": self.best, "median": median}
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and the decision."""
        return {"best": self.best, "pruned": self.pruned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a stored state.

        Raises:
            WrongValueError: if it has another form.
        """
        self.best = of_type(state_dict.get("best"), float | None, "best")
        self.pruned = of_type(state_dict.get("pruned"), dict[str, float] | None, "pruned")
