"""One training run: train, validate, test and record the results, in this process or in several."""

import copy
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from siamese_lab import data
from siamese_lab.config import hydra_app, schema
from siamese_lab.data.pk_batches import check_split_between_processes
from siamese_lab.errors import Interrupted, UserError
from siamese_lab.runs import display, environment
from siamese_lab.runs import results as stored
from siamese_lab.runs.checkpoints import LAST
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.files import delete_drafts
from siamese_lab.runs.results import Point, Results
from siamese_lab.training import launch
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.callbacks import LatestMetrics, PruneTrial, RunCallbacks, build_callbacks
from siamese_lab.training.callbacks.csv_logger import RunCSVLogger
from siamese_lab.training.callbacks.tensorboard import closing_event_files
from siamese_lab.training.launch import Member
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.placement import Placement, find_placement
from siamese_lab.training.requeue import check_starts_anew
from siamese_lab.training.restored import TrainingStart, check_restorable, check_training_state, restoring
from siamese_lab.training.resume_checks import Resumed, check_resumed, keep_finished_record
from siamese_lab.training.start_from import start_from
from siamese_lab.training.threads import threads_restored, use_one_thread_if_small
from siamese_lab.training.trackers import Tracked, build_loggers, run_name, tracking
from siamese_lab.training.trainer import build_profiler, build_trainer, reason_of_shortening, set_steps_of_epochs
from siamese_lab.training.validation_plan import ValidationPlan, plan_validations


def train(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    console: Console | None = None,
    with_test: bool = True,
    prune: PruneTrial | None = None,
) -> Results:
    """Train, test the last weights or the weights that validated best, and write everything into `folder`.

    Args:
        config: the configuration, described by `siamese_lab.config.schema.TrainConfig`.
        folder: the folder of the run; it is created if it does not exist.
        overrides: the command line that `config` was composed from. Checkpoints store it for `resume=`.
        console: the console that shows progress; None is the terminal.
        with_test: if False, only validation images are evaluated at the end and test images stay unseen.
        prune: ends the run early if it is a hopeless trial of a tuning; None ends no run.

    With several processes, each one trains on its part of every batch, and together they run the same experiment as
    one process.

    Raises:
        UserError: if options do not go together; raised before training starts.
        NonFiniteLossError: if the loss is not finite.
        Interrupted: after Ctrl-C or SIGTERM, with a checkpoint stored.
        ProcessDied: if one of several processes was killed.
    """
    if isinstance(config.tuned, str):
        raise UserError(
            f"tuned={config.tuned} was set after the configuration was composed. Pass it to siamese_lab.config.schema."
            "compose, which sets the tuned options."
        )
    console = Console() if console is None else console
    hydra_app.silence_lightning()
    with disk_errors(folder, "paths.outputs"):
        folder.mkdir(parents=True, exist_ok=True)
    with threads_restored():
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        placement = find_placement(config.trainer)
        if placement.environment is None:
            return train_in_processes(config, folder, overrides, console, with_test, prune, placement.processes)
        return train_here(config, folder, overrides, console, with_test, prune, placement)


def train_in_processes(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    console: Console,
    with_test: bool,
    prune: PruneTrial | None,
    processes: int,
) -> Results:
    """Start processes that train together, and return the results that they wrote. See `train`."""
    check_split_between_processes(config.data.get("classes_per_batch", processes), processes)
    resolved = copy.deepcopy(config)
    OmegaConf.resolve(resolved)
    results_path = folder / stored.FILE_NAME
    before = results_path.stat().st_mtime_ns if results_path.exists() else None
    try:
        launch.start(train_as_member, (resolved, folder, overrides, with_test, prune), processes, console)
    except BaseException as error:
        if results_path.exists() and results_path.stat().st_mtime_ns != before:
            # A killed process wrote nothing, and the other processes recorded only that a process is missing.
            results = stored.read_results(folder)
            record_end(results, error)
            results.write(folder)
        raise
    return stored.read_results(folder)


def train_as_member(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    with_test: bool,
    prune: PruneTrial | None,
    console: Console,
    member: Member,
) -> None:
    """Train as one of several processes that `train_in_processes` started. See `train`."""
    hydra_app.silence_lightning()
    schema.register_schema()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(schema.cores_for(member.processes))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # otherwise Lightning sets it
    train_here(config, folder, overrides, console, with_test, prune, Placement.of(member), member)


def train_here(
    config: DictConfig,
    folder: Path,
    overrides: Sequence[str],
    console: Console,
    with_test: bool,
    prune: PruneTrial | None,
    placement: Placement,
    member: Member | None = None,
) -> Results:
    """Train in this process, alone or as one of several. See `train`."""
    started, started_processor = time.perf_counter(), time.process_time()
    loggers = build_loggers(config.logger, folder)  # first, because a package may be missing
    datamodule = build_datamodule(config)
    set_steps_of_epochs(config, len(datamodule.batches), overrides)
    if config.resume is None:
        check_starts_anew(folder)
    resumed = None if config.resume is None else check_resumed(config, datamodule, folder)
    classes, shared = datamodule.class_parts(), None if member is None else member.shared
    callbacks = build_callbacks(config, folder, overrides, console, shared, classes, resumed, prune)
    start, plan = TrainingStart(), plan_validations(config, datamodule)
    trainer = build_trainer(
        config.trainer,
        placement,
        plan.number,
        callbacks=[start, *callbacks.ordered],
        logger=loggers or False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=None,
        profiler=build_profiler(config.trainer.get("profiler"), folder),
    )
    check_split_between_processes(datamodule.classes_per_batch, trainer.world_size)
    content = None if config.resume is None else check_restorable(config, datamodule)
    built = build_module(config, datamodule)
    other = None if config.start_from is None else start_from(built.network, Path(config.start_from), config.network)
    module = trainer.precision_plugin.convert_module(built)  # before a checkpoint is loaded
    assert isinstance(module, SiameseModule)
    if config.threads is None and trainer.strategy.root_device.type == "cpu":
        images = datamodule.classes_per_batch * datamodule.images_per_class
        use_one_thread_if_small(module.network, images, datamodule.channels, datamodule.image_size)
    if resumed is not None and content is not None:
        with restoring(config.resume, start):
            check_training_state(content, module, trainer)
            if resumed.history is not None:
                callbacks.history.load_state_dict(resumed.history)
    if config.metrics.floors:
        callbacks.floors.remember(module.network)
    results = begin_results(config)
    results.images = datamodule.provenance()
    results.data_set = datamodule.describe().recorded()
    results.hardware = environment.hardware(trainer.strategy.root_device, str(trainer.precision), trainer.world_size)
    results.classes = classes.summary()
    results.validated = plan.recorded()
    results.label_noise = datamodule.noise_record()
    results.started_from = None if other is None else other.recorded()
    results.telemetry = callbacks.telemetry.points
    callbacks.history.keep_in(results, folder)
    if resumed is not None:
        continue_record(results, resumed, folder, trainer)
    display.print_choices(console, results, datamodule, plan.described())
    display.print_plainly(console, *([] if other is None else [other.described()]))
    display.print_plainly(console, *([] if resumed is None else resumed.notes))

    if trainer.is_global_zero:
        delete_drafts(folder)
    tracked = Tracked(run_name(folder, results.data), folder, results.choices)
    with (
        tracking(trainer, results, tracked, resumed is not None, partial(display.print_plainly, console)),
        record_status(results, folder, overrides, trainer.is_global_zero),
        closing_event_files(trainer),
    ):
        try:
            with restoring(config.resume, start):
                trainer.fit(module, datamodule=datamodule, ckpt_path=config.resume, weights_only=True)
            callbacks.last.save_end(trainer)
        finally:
            results.steps = trainer.global_step
            results.seconds = timing_values(callbacks.clock.seconds(), module.mining.seconds(), results.steps)
        # trainer.fast_dev_run keeps no best weights
        reports_last = config.report_checkpoint is schema.ReportCheckpoint.last or not callbacks.best.best_model_path
        reported = callbacks.last.path if reports_last else Path(callbacks.best.best_model_path)
        evaluate(trainer, module, datamodule, callbacks.metrics, reported, results, with_test, plan)
        if with_test:
            record_test_embeddings(results, callbacks, module)
        results.selected = selected_number(config, datamodule, results.history)
        display.print_plainly(console, *described_selection(results))
        results.floors = {floor: nan_as_none(figures) for floor, figures in callbacks.floors.figures.items()}
        results.seconds["total"] = time.perf_counter() - started
        results.seconds["processor"] = time.process_time() - started_processor
        results.error = reason_of_shortening(trainer, config.trainer, datamodule)
        if prune is not None and prune.pruned is not None:
            results.pruned, results.error = prune.pruned, described_pruning(prune.pruned)
    return results


def continue_record(results: Results, resumed: Resumed, folder: Path, trainer: lightning.Trainer) -> None:
    """Continue the record of a resumed run, so that no moment lacks what was recorded before.

    The record of a finished run that goes on is kept as `results_of_step_N.json`.
    """
    results.steps, results.changed_options = resumed.step, resumed.changes
    if trainer.is_global_zero:
        keep_finished_record(folder)
        for logger in trainer.loggers:
            if isinstance(logger, RunCSVLogger):
                logger.set_rows_aside()


def begin_results(config: DictConfig) -> Results:
    """Return the record of a run that has not started, as far as the configuration determines it.

    The provenance of the images and the hardware are still empty.
    """
    return Results(
        data=config.data.name,
        sampler=config.sampler.name or str(config.sampler.get("library")),  # a run without the name fails
        loss=config.loss.name or str(config.loss.get("library")),
        network=config.network.name,
        seed=config.seed,
        choices=schema.to_plain(config),
        images={},
        versions=environment.versions(),
        commit=environment.commit(),
        hardware={},
    )


def record_failure(config: DictConfig, folder: Path, error: Exception) -> None:
    """Mark a run as failed. Everything that the run recorded before stays; a full disk may prevent a first record.

    Args:
        config: the configuration of the run.
        folder: the folder of the run.
        error: the error that ended the run. A run that had finished before stays finished: the error has prevented
            that it starts again or goes on.
    """
    failed = begin_results(config)
    with suppress(OSError, UserError):
        failed = stored.read_results(folder)
    if failed.status == "finished":
        return
    failed.fail(error)
    with suppress(OSError):  # the caller reports the error that ended the run
        failed.write(folder)


@contextmanager
def record_status(results: Results, folder: Path, overrides: Sequence[str], writes: bool = True) -> Iterator[None]:
    """Record in results.json how the block ended. Only the process with `writes` writes the file."""
    if writes:
        with disk_errors(folder, "paths.outputs"):
            results.write(folder)
    try:
        with disk_errors(folder, "paths.outputs", folder / LAST, overrides):
            yield
        results.status = "finished" if results.error is None else "shortened"
    except BaseException as error:
        record_end(results, error)
        raise
    finally:
        if writes:
            with disk_errors(folder, "paths.outputs"):
                results.write(folder)


def record_end(results: Results, error: BaseException) -> None:
    """Record that an exception ended the run: the user interrupted it, or it failed."""
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        results.status = "interrupted"
    else:
        results.fail(error)


def timing_values(training: float, mining: float, steps: int) -> dict[str, float]:
    """Return the seconds of training and of its mining, each in total and per step."""
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
    datamodule: data.DataModule,
    metrics: LatestMetrics,
    checkpoint: Path,
    results: Results,
    with_test: bool,
    plan: ValidationPlan,
) -> None:
    """Validate the weights of a checkpoint, and test them if `with_test`.

    If the same weights were validated during training in the same way, those figures are taken.

    Every call names the checkpoint. Without a name, Lightning loads `hpc_ckpt_*` of the folder within a SLURM job.
    """
    results.tested_step = torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]
    named: dict[str, Any] = {"ckpt_path": checkpoint, "weights_only": True, "verbose": False}
    known = [point.validation for point in results.history if point.step == results.tested_step]
    if known and not plan.views and with_test:
        results.validation = nan_as_none(known[-1])
    else:
        trainer.validate(module, datamodule=datamodule, **named)
        results.validation = nan_as_none(metrics.values["validation"])
    if with_test:
        trainer.test(module, datamodule=datamodule, **named)
        results.test = nan_as_none(metrics.values["test"])


def selected_number(config: DictConfig, datamodule: data.DataModule, history: list[Point]) -> dict[str, int] | None:
    """Return how many triplets a miner of another library selected, and how many there would be by the lab's rule.

    None for the strategies of the lab, which follow the rule or state their own, and without a validation.
    """
    if config.sampler.get("library") is None or not history:
        return None
    batches = history[-1].step * config.trainer.get("accumulate_grad_batches", 1)
    pairs = datamodule.classes_per_batch * datamodule.images_per_class * (datamodule.images_per_class - 1)
    return {"triplets": history[-1].triplets, "by_rule": batches * pairs}


def described_selection(results: Results) -> list[str]:
    """Return a note if the number of triplets differs from the lab's rule."""
    selected = results.selected
    if selected is None or selected["triplets"] == selected["by_rule"]:
        return []
    return [
        f"sampler={results.sampler} selected {selected['triplets']:,} triplets; one for each (anchor, positive) pair "
        f"would be {selected['by_rule']:,}. Strategies of the lab differ only in which triplets they select."
    ]


def described_pruning(pruned: Mapping[str, float]) -> str:
    """Return a sentence about a trial that ended early."""
    return (
        f"pruned after {pruned['step']:,} steps: the best validation Recall@1 is {pruned['best']:.1%}, below the "
        f"median of earlier trials, {pruned['median']:.1%}"
    )


def record_test_embeddings(results: Results, callbacks: RunCallbacks, module: SiameseModule) -> None:
    """Record the results of each test class, the spread of the test embeddings, and whether they have collapsed."""
    tested = callbacks.metrics.latest["test"]
    if tested.per_class:
        results.per_class = {
            name: {"queries": each.queries, "recall@1": round(each.recall_at_1, 5), "map@r": round(each.map_at_r, 5)}
            for name, each in tested.per_class.items()
        }
    if tested.spread is not None:
        results.embedding = nan_as_none(tested.spread._asdict())
    results.collapse_reasons = callbacks.collapse.verdict(module, tested.spread)
    results.collapsed = bool(results.collapse_reasons)


def nan_as_none(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics of a stage as results.json stores them: undefined ones (NaN) become None."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}
