"""Callbacks of training, and the one list of all callbacks that every run uses.

They show and record progress, keep checkpoints, stop a run on a signal or a non-finite loss, average weights, and write
distances, the hardest triplets, hyperparameters and embeddings for TensorBoard. Metrics and the training step live in
other modules.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lightning import Callback
from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import schema, targets
from siamese_lab.data.tables.image_table import default_cache
from siamese_lab.runs.checkpoints import LAST
from siamese_lab.runs.classes import ClassParts
from siamese_lab.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint, StoredConfig
from siamese_lab.training.callbacks.collapse import CollapseWatch
from siamese_lab.training.callbacks.compiled_training import CompiledTraining
from siamese_lab.training.callbacks.embedding_projector import EmbeddingProjector
from siamese_lab.training.callbacks.floors import Floors
from siamese_lab.training.callbacks.hardest_triplets import HardestTriplets
from siamese_lab.training.callbacks.history import History
from siamese_lab.training.callbacks.hparams import HParamsSummary
from siamese_lab.training.callbacks.non_finite import StopOnNonFinite
from siamese_lab.training.callbacks.progress import Progress
from siamese_lab.training.callbacks.prune_trial import PruneTrial
from siamese_lab.training.callbacks.signals import StopOnSignal
from siamese_lab.training.callbacks.telemetry import Telemetry
from siamese_lab.training.callbacks.tensorboard import DistanceHistograms, PurgeLaterEvents
from siamese_lab.training.callbacks.training_clock import TrainingClock
from siamese_lab.training.callbacks.weight_average import WeightAverage
from siamese_lab.training.launch import Shared
from siamese_lab.training.resume_checks import Resumed
from siamese_lab.training.stage_metrics import LatestMetrics

BEST_BY = "validation/recall@1"


class RunCallbacks(NamedTuple):
    """The callbacks of one run."""

    ordered: list[Callback]
    """All callbacks, in the order in which Lightning gets them."""
    clock: TrainingClock
    history: History
    metrics: LatestMetrics
    floors: Floors
    collapse: CollapseWatch
    telemetry: Telemetry
    best: BestCheckpoint
    last: LastCheckpoint


def build_callbacks(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    console: Console,
    shared: Shared | None = None,
    classes: ClassParts | None = None,
    resumed: Resumed | None = None,
    prune: PruneTrial | None = None,
) -> RunCallbacks:
    """Build the callbacks of one run: the lab's own, and those of the option group `callbacks`.

    Args:
        config: the whole configuration of the run.
        folder: the folder of the run.
        overrides: the command line, which checkpoints store.
        console: the console that shows progress.
        shared: memory through which the parent process, if there is one, asks for a stop.
        classes: the classes of each part, which checkpoints store.
        resumed: what the run continues; None starts a new run.
        prune: ends the run early if it is a hopeless trial of a tuning; None ends no run.
    """
    config_values = schema.to_plain(config)
    clock = TrainingClock()
    history = History(clock)
    metrics = LatestMetrics()
    floors = Floors(Path(config.paths.cache) if config.paths.cache else default_cache())
    collapse, telemetry = CollapseWatch(console), Telemetry()
    best = BestCheckpoint(folder / "checkpoints", monitor=BEST_BY)
    last = LastCheckpoint(folder / LAST)
    ordered = [
        StopOnNonFinite(),
        clock,
        Progress(console),
        StoredConfig(overrides, config_values, classes, [] if resumed is None else resumed.changes),
        *([] if config.ema is None else [WeightAverage(config.ema)]),
        *([CompiledTraining()] if config.trainer.get("compile") else []),
        history,
        metrics,
        PurgeLaterEvents(keeps_evaluation=resumed is not None and resumed.had_finished),
        HParamsSummary(config_values, folder),
        DistanceHistograms(),
        HardestTriplets(),
        EmbeddingProjector(folder),
        floors,
        collapse,
        telemetry,
        *([] if prune is None else [prune]),
        *(targets.build("callbacks", each) for each in (config.callbacks or {}).values()),
        best,
        last,
        StopOnSignal(last.path, console, shared),
    ]
    return RunCallbacks(ordered, clock, history, metrics, floors, collapse, telemetry, best, last)


__all__ = [
    "BestCheckpoint",
    "CollapseWatch",
    "CompiledTraining",
    "DistanceHistograms",
    "EmbeddingProjector",
    "Floors",
    "HParamsSummary",
    "HardestTriplets",
    "History",
    "LastCheckpoint",
    "LatestMetrics",
    "Progress",
    "PruneTrial",
    "PurgeLaterEvents",
    "RunCallbacks",
    "StopOnNonFinite",
    "StopOnSignal",
    "StoredConfig",
    "Telemetry",
    "TrainingClock",
    "WeightAverage",
    "build_callbacks",
]
