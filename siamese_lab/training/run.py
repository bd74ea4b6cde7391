"""One training run: train, validate, test, and record what came of it; in this process or in several."""

import copy
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from siamese_lab import data
from siamese_lab.config import hydra_app, schema, targets
from siamese_lab.data.pk_batches import check_split_between_processes
from siamese_lab.runs import display, environment
from siamese_lab.runs import results as stored
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.results import Results
from siamese_lab.training import launch, record
from siamese_lab.training.build import build_data, build_module, check_resumed
from siamese_lab.training.callbacks import (
    BestCheckpoint,
    ComparableChoices,
    DistanceHistograms,
    EmbeddingProjector,
    ForgetLaterEvents,
    HardestTriplets,
    History,
    Interrupted,
    LastCheckpoint,
    Progress,
    StopOnNonFinite,
    StopOnSignal,
    StoredChoices,
    TrainingClock,
    WeightAverage,
)
from siamese_lab.training.launch import Member
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.placement import Placement, place
from siamese_lab.training.trainer import build_trainer, set_steps_of_epochs

BEST_BY = "validation/recall@1"


def train(
    config: DictConfig, folder: Path, overrides: Sequence[str], console: Console, with_test: bool = True
) -> Results:
    """Train, test the weights at the end or those that validated best, and leave everything in `folder`.

    Args:
        config: as `siamese_lab.config.schema.Choices`.
        folder: of the run.
        overrides: the command line, to be stored in checkpoints.
        console: where progress is shown.
        with_test: whether test images are looked at in the end, or only those to choose by.

    With several processes, each one trains on its part of every batch, and together they run the same experiment as
    one process.

    Raises:
        UserError: for choices that do not go together, before any training starts.
        NonFiniteLossError: for a loss that is not finite.
        Interrupted: after Ctrl-C or SIGTERM, with a checkpoint stored.
        ProcessDied: if one of several processes was killed.
    """
    placement = place(config.trainer)
    if placement.environment is None:
        return train_in_processes(config, folder, overrides, console, with_test, placement.processes)
    return train_here(config, folder, overrides, console, with_test, placement)


def train_in_processes(
    config: DictConfig, folder: Path, overrides: Sequence[str], console: Console, with_test: bool, processes: int
) -> Results:
    """Start processes that train together, and return what they have left. See `train`."""
    check_split_between_processes(config.data.get("classes_per_batch", processes), processes)
    resolved = copy.deepcopy(config)
    OmegaConf.resolve(resolved)
    place_of_results = folder / stored.FILE_NAME
    before = place_of_results.stat().st_mtime_ns if place_of_results.exists() else None
    try:
        launch.start(train_as_member, (resolved, folder, overrides, with_test), processes, console)
    except BaseException as error:
        if place_of_results.exists() and place_of_results.stat().st_mtime_ns != before:
            # A process that was killed wrote nothing, and one that lost the others only knows that it lost them.
            left = stored.read_results(folder)
            record_end(left, error)
            left.write(folder)
        raise
    return stored.read_results(folder)


def train_as_member(
    config: DictConfig, folder: Path, overrides: Sequence[str], with_test: bool, console: Console, member: Member
) -> None:
    """Train as one of several processes that were started for it. See `train`."""
    hydra_app.hush()
    schema.register_schema()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(schema.cores_for(member.processes))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # else Lightning decides anew
    train_here(config, folder, overrides, console, with_test, Placement.of(member), member)


def train_here(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    console: Console,
    with_test: bool,
    placement: Placement,
    member: Member | None = None,
) -> Results:
    """Train in this process, alone or as one of several. See `train`."""
    started = time.perf_counter()
    images = build_data(config)
    set_steps_of_epochs(config, len(images.batches))
    clock = TrainingClock()
    history = History(clock)
    best = BestCheckpoint(folder / "checkpoints", monitor=BEST_BY)
    last = folder / "checkpoints" / "last.ckpt"
    trainer = build_trainer(
        config.trainer,
        placement,
        callbacks=[
            StopOnNonFinite(),
            clock,
            Progress(console),
            StoredChoices(overrides, schema.plain(config)),
            *([] if config.ema is None else [WeightAverage(config.ema)]),
            history,
            ForgetLaterEvents(),
            ComparableChoices(schema.plain(config), folder),
            DistanceHistograms(),
            HardestTriplets(),
            EmbeddingProjector(folder),
            *(targets.build("callbacks", each) for each in (config.callbacks or {}).values()),
            best,
            LastCheckpoint(last),
            StopOnSignal(last, console, None if member is None else member.shared),
        ],
        logger=targets.build("logger", config.logger, save_dir=folder) if config.logger else False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=None,
    )
    check_split_between_processes(images.classes_per_batch, trainer.world_size)
    if config.resume is not None:
        check_resumed(images, Path(config.resume))
    module = build_module(config, images)
    results = record.begin(config)
    results.images = images.provenance()
    results.data_set = images.describe().recorded()
    results.hardware = environment.hardware(trainer.strategy.root_device, str(trainer.precision), trainer.world_size)
    history.keep_in(results, folder)
    display.print_choices(console, results, images)

    with recorded(results, folder, trainer.is_global_zero):
        try:
            trainer.fit(module, datamodule=images, ckpt_path=config.resume, weights_only=True)
            trainer.save_checkpoint(last)
        finally:
            results.steps = trainer.global_step
            results.seconds = seconds(clock.seconds(), module.mining.seconds(), results.steps)
        reported = last if config.tested is schema.Tested.last else Path(best.best_model_path)
        evaluate(trainer, module, images, reported, results, with_test)
        results.seconds["total"] = time.perf_counter() - started
    return results


@contextmanager
def recorded(results: Results, folder: Path, writes: bool = True) -> Iterator[None]:
    """Record the outcome of the block in results.json, in the one process that writes it."""
    if writes:
        with disk_errors(folder, "paths.outputs"):
            results.write(folder)
        results.write(folder)
    try:
        with disk_errors(folder, "paths.outputs"):
            yield
        results.status = "finished"
    except BaseException as error:
        record_end(results, error)
        raise
    finally:
        if writes:
            with disk_errors(folder, "paths.outputs"):
                results.write(folder)


def record_end(results: Results, error: BaseException) -> None:
    """Record that a run ended by an exception: interrupted by the user, or failed."""
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        results.status = "interrupted"
    else:
        results.fail(error)


def seconds(training: float, mining: float, steps: int) -> dict[str, float]:
    """In total and per step, of training and of the mining in it."""
    each = max(1, steps)
    return {
        "training": training,
        "per_step": training / each,
        "mining": mining,
        "mining_per_step": mining / each,
    }


def evaluate(
    trainer: lightning.Trainer,
    module: SiameseModule,
    images: data.DataModule,
    checkpoint: Path,
    results: Results,
    with_test: bool,
) -> None:
    """Validate, and test if asked to, with the weights of a checkpoint."""
    chosen = torch.load(checkpoint, map_location="cpu", weights_only=True)
    module.load_state_dict(chosen["state_dict"])
    results.tested_step = chosen["global_step"]
    results.validation = figures_of(trainer.validate(module, datamodule=images, verbose=False)[0])
    if with_test:
        results.test = figures_of(trainer.test(module, datamodule=images, verbose=False)[0])


def figures_of(logged: Mapping[str, float]) -> dict[str, float | None]:
    """The metrics without the name of their stage, and with None for those that the images cannot tell."""
    return {name.split("/", 1)[1]: None if math.isnan(value) else value for name, value in logged.items()}
