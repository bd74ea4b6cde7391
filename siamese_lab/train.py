"""Train a Siamese network with one strategy: `python -m siamese_lab.train [GROUP=NAME] [OPTION=VALUE] …`."""

import copy
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import lightning
import torch
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from siamese_lab import (
    checkpoints,
    choices,
    command_line,
    data,
    environment,
    launch,
    losses,
    networks,
    record,
    samplers,
    summary,
    sweep,
    targets,
    tuning,
)
from siamese_lab.callbacks import (
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
from siamese_lab.data.pk_batches import check_shared
from siamese_lab.disk import disk_errors
from siamese_lab.errors import UserError
from siamese_lab.launch import Member
from siamese_lab.metrics import retrieval
from siamese_lab.metrics.pairs import Pairs
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.module import SiameseModule
from siamese_lab.placement import Placement, place
from siamese_lab.study import results as stored
from siamese_lab.study.results import Results
from siamese_lab.trainer import build_trainer
from siamese_lab.winners import with_winner

BEST_BY = "validation/recall@1"


def main() -> None:
    """The command."""
    command_line.run(job)


def job(config: DictConfig) -> None:
    """One run, as Hydra starts it."""
    hydra = HydraConfig.get()
    console = Console()
    folder = Path(hydra.runtime.output_dir)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    config = with_winner(config, hydra)
    if config.tuning is not None:
        check_multirun(hydra.mode, "tune")
        tuning_of_a_strategy(config, folder, hydra.overrides.task, console)
        return
    if config.name is not None:
        check_multirun(hydra.mode, "study")
        run_of_a_study(config, folder, hydra.overrides.task)
        return
    if place(config.trainer).is_launched:
        console = console_of_launched(place(config.trainer), hydra)
    try:
        results = train(config, folder, hydra.overrides.task, console)
    except Interrupted as interrupted:
        summary.print_interrupted(console, interrupted.checkpoint)
        raise SystemExit(128 + interrupted.number) from None
    except UserError:
        raise
    except Exception as bug:  # also in what comes before training
        record.failure(config, folder, bug)
        raise
    summary.print_outcome(console, results, folder)


def console_of_launched(placement: Placement, hydra: HydraConf) -> Console:
    """Return the console of a process that torchrun or srun has started; only the first process prints.

    Raises:
        UserError: for a sweep, and without a folder that all processes know.
    """
    if hydra.mode == RunMode.MULTIRUN:
        raise UserError("A sweep starts its processes itself. Start it without torchrun and srun.")
    if not any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra):
        raise UserError(
            f"torchrun or srun has started {placement.processes} processes, which need one folder: "
            "name it by hydra.run.dir=FOLDER."
        )
    if placement.rank:
        warnings.simplefilter("ignore")
    return Console(quiet=placement.rank > 0)


def run_of_a_study(config: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """What is left of one run among many, in silence."""
    try:
        sweep.run(train, config, folder, overrides)
    except Interrupted as interrupted:
        raise SystemExit(128 + interrupted.number) from None


def tuning_of_a_strategy(config: DictConfig, folder: Path, overrides: Sequence[str], console: Console) -> None:
    """The trials of one strategy on one data set, with a line for each."""
    try:
        tuning.run(partial(train, with_test=False), config, folder, overrides, console)
    except Interrupted as interrupted:
        raise SystemExit(128 + interrupted.number) from None


def check_multirun(mode: RunMode | None, experiment: str) -> None:
    """Raise UserError for many runs that are asked for as if they were one."""
    if mode != RunMode.MULTIRUN:
        command = f"python -m siamese_lab.train -m experiment={experiment}"
        raise UserError(f"This is many runs, so it takes -m: {command}.")


def train(
    config: DictConfig, folder: Path, overrides: Sequence[str], console: Console, with_test: bool = True
) -> Results:
    """Train, test the weights at the end or those that validated best, and leave everything in `folder`.

    Args:
        config: as `siamese_lab.choices.Choices`.
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
    check_shared(config.data.get("classes_per_batch", processes), processes)
    resolved = copy.deepcopy(config)
    OmegaConf.resolve(resolved)
    place_of_results = folder / stored.FILE_NAME
    before = place_of_results.stat().st_mtime_ns if place_of_results.exists() else None
    try:
        launch.start(train_as_member, (resolved, folder, overrides, with_test), processes, console)
    except BaseException as error:
        if place_of_results.exists() and place_of_results.stat().st_mtime_ns != before:
            # A process that was killed wrote nothing, and one that lost the others only knows that it lost them.
            left = stored.read(folder)
            record_end(left, error)
            left.write(folder)
        raise
    return stored.read(folder)


def train_as_member(
    config: DictConfig, folder: Path, overrides: Sequence[str], with_test: bool, console: Console, member: Member
) -> None:
    """Train as one of several processes that were started for it. See `train`."""
    command_line.hush()
    choices.register_schema()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(choices.cores_for(member.processes))
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
            StoredChoices(overrides, choices.plain(config)),
            *([] if config.ema is None else [WeightAverage(config.ema)]),
            history,
            ForgetLaterEvents(),
            ComparableChoices(choices.plain(config), folder),
            DistanceHistograms(),
            HardestTriplets(),
            EmbeddingProjector(folder),
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
    images = build_data(config)
    check_shared(images.classes_per_batch, trainer.world_size)
    if config.resume is not None:
        check_resumed(images, Path(config.resume))
    module = build_module(config, images)
    results = record.begin(config)
    results.images = images.provenance()
    results.data_set = images.describe().recorded()
    results.hardware = environment.hardware(trainer.strategy.root_device, str(trainer.precision), trainer.world_size)
    history.keep_in(results, folder)
    summary.print_choices(console, results, images)

    with recorded(results, folder, trainer.is_global_zero):
        try:
            trainer.fit(module, datamodule=images, ckpt_path=config.resume, weights_only=True)
            trainer.save_checkpoint(last)
        finally:
            results.steps = trainer.global_step
            results.seconds = seconds(clock.seconds(), module.mining.seconds(), results.steps)
        reported = last if config.tested is choices.Tested.last else Path(best.best_model_path)
        evaluate(trainer, module, images, reported, results, with_test)
        results.seconds["total"] = time.perf_counter() - started
    return results


def build_data(config: DictConfig) -> data.DataModule:
    """The data of a run, loaded and checked."""
    images = data.build(**config.data, seed=config.seed)
    images.setup("fit")
    for use, part in (("validation", images.splits.validation), ("test", images.splits.test)):
        try:
            retrieval.check_labels(part.labels_N)
        except UserError as error:
            raise UserError(f"The {use} images of data={config.data.name} cannot be evaluated: {error}") from None
    return images


def check_resumed(images: data.DataModule, checkpoint: Path) -> None:
    """Raise UserError where a network would go on with data that tests what it has seen."""
    state = checkpoints.read(checkpoint).get(type(images).__qualname__, {})
    if data.LEARNT in state:
        images.check_unseen(state[data.LEARNT])


def build_module(config: DictConfig, images: data.DataModule) -> SiameseModule:
    """The network, whose initial weights depend on the seed alone, with what it is trained with."""
    lightning.seed_everything(config.seed, verbose=False)
    network = networks.build(**config.network, channels=images.channels, image_size=images.image_size, seed=config.seed)
    loss = losses.build(**config.loss, classes=len(images.splits.train.class_names))
    sampler = samplers.build(
        **config.sampler, seed=config.seed, images_per_class=images.images_per_class, finite_only=False
    )
    check_lengths(network, sampler, loss)
    check_meaning(config, sampler, loss)
    return SiameseModule(
        network,
        sampler,
        loss,
        targets.Deferred("optimizer", config.optimizer),
        targets.Deferred("schedule", config.schedule),
        build_verification(images),
        config.metrics.extra,
    )


def build_verification(images: data.DataModule) -> VerificationMetrics | None:
    """What decides the official pairs of the data, where it has some."""
    official = images.official_pairs
    if official is None:
        return None
    choose, decide = (
        Pairs(pairs.first_M, pairs.second_M, pairs.same_M) for pairs in (official.choose, official.decide)
    )
    return VerificationMetrics(official.name, choose, decide)


def check_lengths(network: networks.SiameseNetwork, sampler: samplers.Sampler, loss: losses.Loss) -> None:
    """Raise UserError where the loss wants unit-norm embeddings and the network gives others, or the reverse."""
    if sampler.remembers and not loss.of_unit_norm:
        raise UserError(
            "A memory keeps embeddings at unit norm and so does not go with loss.l2_penalty: set loss.l2_penalty=null "
            "and network.normalize=true, or take a sampler without a memory."
        )
    if loss.of_unit_norm and not network.normalize:
        raise UserError(
            "This loss compares unit vectors, but network.normalize=false leaves embeddings as long as they come. "
            "Set network.normalize=true, or loss=n_pair with an l2_penalty."
        )
    if network.normalize and not loss.of_unit_norm:
        raise UserError(
            "An l2_penalty keeps short what network.normalize=true gives unit length anyway. "
            "Set network.normalize=false, or loss.l2_penalty=null."
        )


def check_meaning(config: DictConfig, sampler: samplers.Sampler, loss: losses.Loss) -> None:
    """Raise UserError where the loss cannot learn from what the strategy selects."""
    if sampler.gives not in loss.accepts:
        able = [name for name in losses.available() if sampler.gives in losses.registry.classes[name].accepts]
        raise UserError(
            f"loss={config.loss.name} has no meaning with sampler={config.sampler.name}, which gives "
            f"{sampler.gives.__name__}. Losses that do: {', '.join(able)}."
        )


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


if __name__ == "__main__":
    main()
