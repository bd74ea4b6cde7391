"""The record of a run before it trains: what it chose, with which code."""

from omegaconf import DictConfig

from siamese_lab import choices, environment
from siamese_lab.study.results import Results


def begin(config: DictConfig) -> Results:
    """All that is known from the configuration alone; images and hardware are still to be told."""
    return Results(
        data=config.data.name,
        sampler=config.sampler.name,
        loss=config.loss.name,
        network=config.network.name,
        seed=config.seed,
        choices=choices.plain(config),
        images={},
        versions=environment.versions(),
        commit=environment.commit(),
        hardware={},
    )
