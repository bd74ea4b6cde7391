"""Run the command `evaluate`: print the table of a checkpoint, and write the record and the pictures."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from lightning import Fabric
from omegaconf import DictConfig, OmegaConf

from siamese_lab import data
from siamese_lab.config import schema
from siamese_lab.config.metric_options import check_ks
from siamese_lab.data.trained_options import trained_options
from siamese_lab.errors import UserError
from siamese_lab.evaluation import Trained, evaluate, load, plots, projection, record
from siamese_lab.evaluation.evaluated_data import check_fit, count_seen, keep_trained_parts
from siamese_lab.evaluation.features import prepare_features
from siamese_lab.evaluation.table import print_figures
from siamese_lab.runs import checkpoints, environment, results
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import counted, print_plainly, short
from siamese_lab.runs.links import check_inside
from siamese_lab.training.trainer import best_precision, check_accelerator

FOLDER = "evaluations"
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def run(config: DictConfig) -> None:
    """Evaluate the checkpoint that the configuration names.

    Raises:
        UserError: if the checkpoint or the options cannot be used; raised before any image is embedded.
    """
    started = time.perf_counter()
    console = new_console()
    if OmegaConf.is_missing(config, "checkpoint") or not config.checkpoint:
        raise UserError(
            "There is no checkpoint to evaluate. Set checkpoint=PATH to a .ckpt file or to the folder of a run."
        )
    projection.check_method(config.map)
    check_folder(config.folder)
    fabric = build_fabric(config.accelerator, config.precision)
    trained = load(Path(config.checkpoint))
    ks = trained_ks(trained)
    prepare_features(config, console)
    options = schema.to_plain(config)["data"]
    datamodule = data.build(**options, seed=trained.choices["seed"])
    check_fit(trained, datamodule)
    datamodule.check_unseen(trained_options(trained.choices["data"]))
    notes = keep_trained_parts(trained, options, datamodule)
    seen = count_seen(trained, options, datamodule)
    notes += describe_precision(trained, fabric)
    print_plainly(console, *describe_evaluation(trained, options, datamodule, seen), *notes)

    with new_folder(config, trained.checkpoint) as folder:
        evaluation = evaluate(
            trained.network,
            datamodule,
            distance=config.distance,
            k=None if config.k is None else tuple(config.k),
            trained_k=ks,
            index=config.index,
            pairs=config.pairs,
            episodes=config.episodes,
            seed=config.seed,
            fabric=fabric,
            console=console,
        )
        evaluation.seconds["total"] = time.perf_counter() - started
        record.write_evaluation(evaluation, origin_of_results(config, trained, datamodule, seen, notes, fabric), folder)
    print_figures(console, evaluation)
    drawn = plots.write_plots(evaluation, folder, map_by=config.map, seed=config.seed, console=console)
    print_plainly(
        console,
        f"Evaluation: {short(folder / record.FILE_NAME)}",
        f"Pictures:   {', '.join(picture.name for picture in drawn)}",
    )


def build_fabric(accelerator: str, precision: str) -> Fabric:
    """Build the Fabric with the requested device and precision.

    Raises:
        UserError: if the accelerator is not available or the precision is unknown.
    """
    check_accelerator(accelerator, "accelerator")
    if precision not in (*PRECISIONS, "auto"):
        raise UserError(f"precision must be auto or one of {', '.join(PRECISIONS)}, but is {precision!r}.")
    decided: Any = best_precision(accelerator) if precision == "auto" else precision
    return Fabric(accelerator=accelerator, devices=1, precision=decided)


def check_folder(folder: str | None) -> None:
    """Raise UserError if the folder already holds an evaluation, so that none is overwritten."""
    if folder is not None and (Path(folder) / record.FILE_NAME).exists():
        raise UserError(
            f"There is an evaluation in {folder} already. Set folder to another one, or folder=null for a new one."
        )


@contextmanager
def new_folder(config: DictConfig, checkpoint: Path) -> Iterator[Path]:
    """Create the output folder: the one that `folder` names, or a new one in the run's folder or in outputs.

    If the block fails before it has written anything, the folder is removed.

    Raises:
        UserError: if the folder cannot be created.
    """
    parent = checkpoints.run_of(checkpoint) or Path(config.paths.outputs)
    check_inside(parent, (FOLDER,))
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{config.data.name}"
    new = (parent / FOLDER / (f"{stem}-{number}" if number else stem) for number in count())
    folder = next(each for each in new if not each.exists()) if config.folder is None else Path(config.folder)
    try:
        folder.mkdir(parents=True, exist_ok=config.folder is not None)
    except OSError as error:
        raise UserError(
            f"The evaluation cannot be written to {folder} ({error.strerror}). Set folder to another one."
        ) from error
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def describe_evaluation(
    trained: Trained, options: Mapping[str, Any], datamodule: data.DataModule, seen: int
) -> list[str]:
    """Describe the network and the data of an evaluation in two lines."""
    test = datamodule.splits.test
    then = trained.choices
    known = f", including {seen:,} that the network was trained on" if seen else ""
    return [
        f"network  {then['network']['name']} of step {trained.step:,}, trained on {then['data']['name']} with "
        f"{then['sampler']['name']} and {then['loss']['name']}, seed {then['seed']}",
        f"data     {options['name']}: {counted(len(test), 'test image')} of "
        f"{counted(len(test.class_names), 'class', 'classes')}{known}",
    ]


def trained_ks(trained: Trained) -> list[int] | None:
    """Return the K's of Recall@K that the training set; None if it took the default.

    Raises:
        UserError: if the checkpoint holds no valid ones.
    """
    metrics = trained.choices.get("metrics")
    ks = metrics.get("k") if isinstance(metrics, Mapping) else None
    check_ks(ks)
    return ks


def describe_precision(trained: Trained, fabric: Fabric) -> list[str]:
    """Return a sentence if the run computed its own figures in another precision; figures then differ slightly."""
    here = there = str(fabric.strategy.precision.precision)
    with suppress(UserError):  # a damaged record does not concern the weights
        run = checkpoints.run_of(trained.checkpoint)
        there = here if run is None else str(results.read_results(run).hardware.get("precision", here))
    if there == here:
        return []
    return [
        f"precision {here}; the run's own figures are of {there}, which differ by up to about 0.2 points."
        + (f" To compute as the run did, set precision={there}." if there in PRECISIONS else "")
    ]


def origin_of_results(
    config: DictConfig, trained: Trained, datamodule: data.DataModule, seen: int, notes: list[str], fabric: Fabric
) -> dict[str, Any]:
    """Return the provenance of the results, for evaluation.json."""
    test = datamodule.splits.test
    return {
        "network": {
            "checkpoint": str(trained.checkpoint.absolute()),
            "step": trained.step,
            "choices": trained.choices,
        },
        "data": {
            "name": config.data.name,
            "part": "test",
            "images": len(test),
            "classes": len(test.class_names),
            "classes_trained_on": seen,
            "notes": notes,
            "files": datamodule.provenance(),
        },
        "choices": schema.to_plain(config),
        "versions": environment.versions(),
        "commit": environment.commit(),
        "hardware": environment.hardware(fabric.device, str(fabric.strategy.precision.precision)),
    }
