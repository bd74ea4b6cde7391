"""The record of a run before it trains, and of a run that failed before it trained."""

from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from siamese_lab.config import schema
from siamese_lab.errors import UserError
from siamese_lab.runs import environment, results
from siamese_lab.runs.results import Results


def begin(config: DictConfig) -> Results:
    """Return what the configuration alone tells of a run; images and hardware are filled in later."""
    return Results(
        data=config.data.name,
        sampler=config.sampler.name,
        loss=config.loss.name,
        network=config.network.name,
        seed=config.seed,
        choices=schema.plain(config),
        images={},
        versions=environment.versions(),
        commit=environment.commit(),
        hardware={},
    )


def failure(config: DictConfig, folder: Path, error: Exception) -> None:
    """Mark the run in a folder as failed. What the run recorded before stays.

    Args:
        config: of the run.
        folder: of the run.
        error: the error that ended the run.
    """
    failed = begin(config)
    with suppress(OSError, UserError):
        failed = results.read_results(folder)
    failed.fail(error)
    failed.write(folder)
