"""Evaluate a trained network: `python -m siamese_lab.evaluate checkpoint=PATH [data=NAME] [OPTION=VALUE] …`."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from lightning import Fabric
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from siamese_lab import data
from siamese_lab.config import hydra_app, schema
from siamese_lab.errors import UserError
from siamese_lab.evaluation import Trained, evaluate, load, plots, projection, record
from siamese_lab.evaluation.evaluated_data import check_fit, count_seen, with_evaluated_data
from siamese_lab.evaluation.table import print_figures
from siamese_lab.runs import checkpoints, environment
from siamese_lab.runs.display import print_plainly, short
from siamese_lab.training.trainer import best_precision, check_accelerator

FOLDER = "evaluations"
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def main() -> None:
    """The command."""
    hydra_app.run(job, "evaluate", schema.EvaluateConfig, with_evaluated_data)


def job(config: DictConfig) -> None:
    """One evaluation, as Hydra starts it.

    Raises:
        UserError: for a checkpoint or choices that cannot be evaluated, before any image is embedded.
    """
    started = time.perf_counter()
    console = Console()
    if OmegaConf.is_missing(config, "checkpoint") or not config.checkpoint:
        raise UserError("Say what to evaluate: checkpoint=PATH, of a .ckpt file or of the folder of a run.")
    projection.check_method(config.map)
    check_folder(config.folder)
    fabric = build_fabric(config.accelerator, config.precision)
    trained = load(Path(config.checkpoint))
    options = schema.to_plain(config)["data"]
    images = data.build(**options, seed=trained.choices["seed"])
    check_fit(trained, images)
    images.check_unseen(trained.choices["data"])
    seen = count_seen(trained, options, images)
    print_plainly(console, *subject(trained, options, images, seen))

    with new_folder(config, trained.checkpoint) as folder:
        evaluation = evaluate(
            trained.network,
            images,
            distance=config.distance,
            k=tuple(config.k),
            index=config.index,
            pairs=config.pairs,
            episodes=config.episodes,
            seed=config.seed,
            fabric=fabric,
            console=console,
        )
        evaluation.seconds["total"] = time.perf_counter() - started
        record.write(evaluation, origin(config, trained, images, seen, fabric), folder)
    print_figures(console, evaluation)
    drawn = plots.write(evaluation, folder, map_by=config.map, seed=config.seed, console=console)
    print_plainly(
        console,
        f"Evaluation: {short(folder / record.FILE_NAME)}",
        f"Pictures:   {', '.join(picture.name for picture in drawn)}",
    )


def build_fabric(accelerator: str, precision: str) -> Fabric:
    """The device and precision.

    Raises:
        UserError: for an accelerator that is not there, or a precision that is not known.
    """
    check_accelerator(accelerator, "accelerator")
    if precision not in (*PRECISIONS, "auto"):
        raise UserError(f"precision must be auto or one of {', '.join(PRECISIONS)}, but is {precision!r}.")
    decided: Any = best_precision(accelerator) if precision == "auto" else precision
    return Fabric(accelerator=accelerator, devices=1, precision=decided)


def check_folder(folder: str | None) -> None:
    """Raise UserError if another evaluation lies there, so that none is overwritten."""
    if folder is not None and (Path(folder) / record.FILE_NAME).exists():
        raise UserError(
            f"There is an evaluation in {folder} already. Name another folder, or leave folder=null for a new one."
        )


@contextmanager
def new_folder(config: DictConfig, checkpoint: Path) -> Iterator[Path]:
    """The folder to write into: the one asked for, or a new one beside the run, or else under outputs.

    Where the block fails before it has written anything, the folder is taken away again.

    Raises:
        UserError: if it cannot be made.
    """
    beside = checkpoints.run_of(checkpoint) or Path(config.paths.outputs)
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{config.data.name}"
    new = (beside / FOLDER / (f"{stem}-{number}" if number else stem) for number in count())
    folder = next(each for each in new if not each.exists()) if config.folder is None else Path(config.folder)
    try:
        folder.mkdir(parents=True, exist_ok=config.folder is not None)
    except OSError as error:
        raise UserError(
            f"The evaluation cannot be written to {folder} ({error.strerror}). Name another folder: folder=PATH."
        ) from error
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def subject(trained: Trained, options: Mapping[str, Any], images: data.DataModule, seen: int) -> list[str]:
    """What is evaluated on what, in two lines."""
    test = images.splits.test
    then = trained.choices
    known = f", {seen:,} of which it was trained on" if seen else ""
    return [
        f"network  {then['network']['name']} of step {trained.step:,}, trained on {then['data']['name']} with "
        f"{then['sampler']['name']} and {then['loss']['name']}, seed {then['seed']}",
        f"data     {options['name']}: {len(test):,} test images of {len(test.class_names):,} classes{known}",
    ]


def origin(config: DictConfig, trained: Trained, images: data.DataModule, seen: int, fabric: Fabric) -> dict[str, Any]:
    """Where the figures come from, for evaluation.json."""
    test = images.splits.test
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
            "files": images.provenance(),
        },
        "choices": schema.to_plain(config),
        "versions": environment.versions(),
        "commit": environment.commit(),
        "hardware": environment.hardware(fabric.device, str(fabric.strategy.precision.precision)),
    }


if __name__ == "__main__":
    main()
