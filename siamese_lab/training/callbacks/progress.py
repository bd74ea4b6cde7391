"""Show one progress bar over all steps, and print one line for each validation."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from siamese_lab.training.module import StepOutput
from siamese_lab.training.stage_metrics import StageMetrics

REFRESH_SECONDS = 0.2
"""Seconds between two updates. Reading the loss makes the host wait for the GPU, so it is read rarely."""


class Progress(Callback):
    """Shows the step, the loss, the share of active triplets and the last validation Recall@1.

    Args:
        console: the console to draw on.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.recall: float | None = None
        self._bar: Bar | None = None
        self._training: TaskID | None = None
        self._evaluation: TaskID | None = None
        self._drawn = 0.0
        self._step: StepOutput | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the progress bar in the first process."""
        if self._bar is None and trainer.is_global_zero:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[figures]}"),
                console=self.console,
                transient=True,
                disable=not self.console.is_terminal,
            )
            self._bar.start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop the progress bar, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the bar of all training steps."""
        if self._bar is not None:
            done = trainer.global_step
            self._training = self._bar.add_task("Training", total=trainer.max_steps, completed=done, figures="")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Update the bar, at most every REFRESH_SECONDS."""
        self._step = outputs["step"]
        if self._bar is None or self._training is None or time.monotonic() - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = time.monotonic()
        self._bar.update(self._training, completed=trainer.global_step, figures=self._figures())

    def _figures(self) -> str:
        figures = []
        if self._step is not None:
            figures.append(f"loss {float(self._step.loss):.4f}")
            if self._step.active_share is not None:
                figures.append(f"active {float(self._step.active_share):.0%}")
        if self.recall is not None:
            figures.append(f"Recall@1 {self.recall:.1%}")
        return "  ".join(figures)

    def on_metrics(self, trainer: Trainer, metrics: StageMetrics) -> None:
        """Print a line for a validation that belongs to training; the line also appears in a log file."""
        if self._bar is not None and metrics.stage == "validation" and trainer.state.fn == "fit":
            self.recall = metrics.values["recall@1"]
            width = len(str(trainer.max_steps))
            step = f"step {trainer.global_step:>{width}}/{trainer.max_steps}"
            self._bar.console.print(f"{step}  {self._figures()}", highlight=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bar of the validation."""
        self._end_evaluation()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bar of the test."""
        self._end_evaluation()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a bar for validation."""
        self._start_evaluation("Validation", sum(trainer.num_val_batches))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a bar for the test."""
        self._start_evaluation("Test", sum(trainer.num_test_batches))

    def on_validation_batch_end(self, *_: Any) -> None:
        """Advance the bar of the validation."""
        self._advance_evaluation()

    def on_test_batch_end(self, *_: Any) -> None:
        """Advance the bar of the test."""
        self._advance_evaluation()

    def _start_evaluation(self, name: str, batches: float) -> None:
        if self._bar is not None:
            self._evaluation = self._bar.add_task(name, total=batches, figures="")

    def _advance_evaluation(self) -> None:
        if self._bar is not None and self._evaluation is not None:
            self._bar.advance(self._evaluation)

    def _end_evaluation(self) -> None:
        if self._bar is not None and self._evaluation is not None:
            self._bar.remove_task(self._evaluation)
            self._evaluation = None
