"""The history of a run: one point per validation, with means of the training metrics since the previous one."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from siamese_lab.batch import Triplets
from siamese_lab.runs.plain_values import WrongValueError, check_keys, check_plain, of_type, shortened, wrong
from siamese_lab.runs.results import Point, Results
from siamese_lab.training.callbacks.training_clock import TrainingClock
from siamese_lab.training.module import StepOutput
from siamese_lab.training.stage_metrics import StageMetrics


class History(Callback):
    """Adds a point to the results of a run at every validation, and writes the results.

    Checkpoints store the history, so a resumed run records the same history as an uninterrupted run.

    Args:
        clock: counts the seconds spent in training.
    """

    def __init__(self, clock: TrainingClock) -> None:
        self.clock = clock
        self._points: list[Point] = []
        self._seconds: list[float] = []
        self._record: Callable[[int], object] = lambda step: None
        self._triplets: int | Tensor = 0
        self._logged: list[Mapping[str, Tensor]] = []

    @property
    def points(self) -> list[Point]:
        """Return the points so far, one for each validation."""
        return self._points

    def keep_in(self, results: Results, folder: Path) -> None:
        """Add all points to these results, which are written into the folder of their run at every validation."""
        results.history, results.seconds_of_history = self._points, self._seconds

        def record(step: int) -> None:
            results.steps = step
            results.write(folder)

        self._record = record

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Count the triplets, and keep the logged values on the device."""
        step: StepOutput = outputs["step"]
        triplets = step.selection.triplets
        self._triplets = self._triplets + (
            triplets.negative_TM.numel() if isinstance(triplets, Triplets) else triplets.number()
        )
        if step.logged is not None:
            self._logged.append(step.logged)

    def on_metrics(self, trainer: Trainer, metrics: StageMetrics) -> None:
        """Add a point, if the metrics are those of a validation that belongs to training."""
        if metrics.stage != "validation" or trainer.state.fn != "fit":
            return
        self._triplets = int(self._triplets)
        self._points.append(Point(trainer.global_step, self._triplets, self._means(), dict(metrics.values)))
        self._seconds.append(self.clock.seconds())
        self._logged = []
        if trainer.is_global_zero:
            self._record(trainer.global_step)

    def _means(self) -> dict[str, float]:
        names = self._logged[-1] if self._logged else ()
        return {  # the values restored from a checkpoint may have other names
            name: float(torch.stack([each[name] for each in self._logged if name in each]).mean()) for name in names
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the points so far, and the metrics for the next point."""
        return {
            "points": [asdict(point) for point in self._points],
            "seconds": list(self._seconds),
            "triplets": int(self._triplets),
            "logged": [{name: value.cpu() for name, value in each.items()} for each in self._logged],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the stored points.

        Raises:
            ValueError, TypeError: if the state has another form.
        """
        check_plain(state_dict["points"], "points")
        self._points[:] = of_type(state_dict["points"], list[Point], "points")
        self._seconds[:] = of_type(state_dict["seconds"], list[float], "seconds")
        self._triplets = of_type(state_dict["triplets"], int, "triplets")
        if len(self._points) != len(self._seconds):
            raise WrongValueError(f"there are {len(self._points)} points, but {len(self._seconds)} seconds")
        self._logged = [checked_values(each) for each in of_type(state_dict["logged"], list, "logged")]


def checked_values(logged: Any) -> dict[str, Tensor]:
    """Return the logged values of one step as scalars.

    Raises:
        WrongValueError: if a value is no number.
    """
    values = {
        name: torch.as_tensor(value)
        for name, value in of_type(logged, dict, "logged").items()
        if isinstance(value, (int, float, Tensor))
    }
    for name in logged:
        if name not in values or values[name].ndim:
            raise wrong(f"logged.{shortened(str(name))}", logged[name], "a number")
    check_keys(values, "logged")
    return values
