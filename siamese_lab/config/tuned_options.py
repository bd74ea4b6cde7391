"""`tuned=PATH` gives a run the options that won when its strategy was tuned on its data."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siamese_lab.config.overrides import option_of
from siamese_lab.errors import UserError
from siamese_lab.runs import tuned
from siamese_lab.runs.tuned import Tuned

FIXED = ("data.name", "loss.name", "network.name", "optimizer._target_")
"""Choices that a winner goes with."""


def with_tuned_options(config: DictConfig, hydra: Any) -> DictConfig:
    """The configuration with the winner's options, and what won in place of the path; without `tuned` as it is.

    Args:
        config: of a run.
        hydra: what Hydra says of it: its choices and its command line.

    Raises:
        UserError: if there is no winner, or the run was told otherwise.
    """
    if config.tuned is None:
        return config
    data, sampler = hydra.runtime.choices.data, hydra.runtime.choices.sampler
    winner = find(Path(config.tuned).expanduser(), data, sampler)
    check_said(winner, list(hydra.overrides.task))
    check_fits(winner, config)
    config = with_options(config, winner.options)
    config.tuned = {
        "options": winner.options,
        "score": winner.score,
        "metric": winner.metric,
        "trials": winner.trials,
        "steps": winner.choices["trainer"]["max_steps"],
    }
    return config


def with_options(config: DictConfig, options: Mapping[str, Any]) -> DictConfig:
    """A copy with these options, by dotted names."""
    config = deepcopy(config)
    for name, value in options.items():
        OmegaConf.update(config, name, value)
    return config


def find(folder: Path, data: str, sampler: str) -> Tuned:
    """The winner of a strategy on a data set.

    Raises:
        UserError: if there is none.
    """
    try:
        return tuned.read(folder / data / sampler)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} has no options that won for data={data} sampler={sampler}. Tune it, or the rest of it: "
            f"python -m siamese_lab.train -m experiment=tune name={folder.name} data={data} sampler={sampler}."
        ) from None


def check_said(winner: Tuned, overrides: list[str]) -> None:
    """Raise UserError where the command line gives an option that was tuned."""
    twice = sorted({option_of(override) for override in overrides} & winner.options.keys())
    if twice:
        raise UserError(
            f"{twice[0]} is given on the command line, but was tuned as well. "
            f"Leave one of them out, {twice[0]}=… or tuned=…."
        )


def check_fits(winner: Tuned, config: DictConfig) -> None:
    """Raise UserError where the winner was found with other parts than the run has."""
    then = OmegaConf.create(winner.choices)
    for name in FIXED:
        was, now = OmegaConf.select(then, name), OmegaConf.select(config, name)
        if was != now:
            raise UserError(
                f"The options of tuned={config.tuned} were found with {name}={was}, but this run has {now}."
            )
