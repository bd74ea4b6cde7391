"""Set the best options of a tuning by `tuned=PATH`, for the run's strategy and data set."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siamese_lab.config.errors import expectation
from siamese_lab.config.overrides import option_of
from siamese_lab.config.schema import to_plain
from siamese_lab.config.stored_overrides import check_text
from siamese_lab.errors import UserError
from siamese_lab.runs import tuned
from siamese_lab.runs.option_bounds import check_bound
from siamese_lab.runs.options import flatten
from siamese_lab.runs.plain_values import WrongValueError, shortened
from siamese_lab.runs.tuned import Tuned

FIXED = ("data.name", "loss.name", "network.name", "optimizer.name")
"""Options that must be the same in the tuning and in the run."""

TUNABLE = ("optimizer", "loss", "network", "sampler")
"""Groups with options that a tuning varies."""
MISSING = object()


def with_tuned_options(config: DictConfig, hydra: Any) -> DictConfig:
    """Return the configuration with the tuned options; without `tuned` return it unchanged.

    In the returned configuration, `tuned` holds a summary of the tuning instead of its path.

    Args:
        config: the configuration of a run.
        hydra: Hydra's own configuration, with the chosen groups and the command line.

    Raises:
        UserError: if there are no tuned options, or the command line contradicts them.
    """
    if config.tuned is None:
        return config
    data, sampler = hydra.runtime.choices.data, hydra.runtime.choices.sampler
    winner = find_tuned_options(Path(config.tuned).expanduser(), data, sampler)
    check_not_overridden(winner, list(hydra.overrides.task))
    check_same_parts(winner, config)
    check_tuned(winner, config)
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
    """Return a copy with these options, which are given by dotted names."""
    config = deepcopy(config)
    for name, value in options.items():
        OmegaConf.update(config, name, value)
    return config


def find_tuned_options(folder: Path, data: str, sampler: str) -> Tuned:
    """Return the best options of a strategy on a data set.

    Raises:
        UserError: if the folder has none, or those of another strategy or data set.
    """
    try:
        winner = tuned.read_tuned(folder / data / sampler)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} has no tuned options for data={data} sampler={sampler}. Tune it, or finish its tuning: "
            f"python -m siamese_lab.train -m experiment=tune study_name={folder.name} data={data} sampler={sampler}."
        ) from None
    if (winner.data, winner.sampler) != (data, sampler):
        raise UserError(
            f"{folder / data / sampler / tuned.FILE_NAME} holds options for data={shortened(winner.data)} "
            f"sampler={shortened(winner.sampler)}, but is in the folder for data={data} sampler={sampler}. Move it to "
            "its own folder, or tune again."
        )
    return winner


def check_tuned(winner: Tuned, config: DictConfig) -> None:
    """Raise UserError for an option that no tuning sets: of another group, unknown, or of another type.

    The file may come from anyone, and its options are set without a further look.
    """
    path = f"{config.tuned}/{winner.data}/{winner.sampler}/{tuned.FILE_NAME}"
    for name, value in winner.options.items():
        group, _, option = name.partition(".")
        here = OmegaConf.select(config, name, default=MISSING)
        if group not in TUNABLE or here is MISSING or option == "name" or option.startswith("_"):
            raise UserError(
                f"{path} sets {shortened(name)}, but a tuning only sets options of {', '.join(TUNABLE)} that the run "
                "has. Tune again, or remove tuned=…."
            )
        expected = expectation(here)
        kinds = (bool, int, float, str, type(None)) if expected is None else expected.types
        is_number = isinstance(here, (int, float)) and not isinstance(here, bool)
        if not isinstance(value, (int, float) if is_number else kinds) or (is_number and isinstance(value, bool)):
            words = "a number, true, false, a text or null" if expected is None else expected.words
            raise UserError(f"{path} sets {name}={shortened(repr(value))}, expected {words}, like {here!r}.")
        try:
            check_bound(name, value)
            if isinstance(value, str):
                check_text(name, value, is_group=False)
        except WrongValueError as error:
            raise UserError(f"{path} cannot be used: {error}.") from error


def check_not_overridden(winner: Tuned, overrides: list[str]) -> None:
    """Raise UserError if the command line sets an option that was tuned."""
    tuned_options = {name for name in winner.options if name.partition(".")[0] in TUNABLE}  # check_tuned refuses others
    twice = sorted({option_of(override) for override in overrides} & tuned_options)
    if twice:
        raise UserError(
            f"{shortened(twice[0])} is set on the command line and by the file of tuned=…. Remove one of both."
        )


def check_same_parts(winner: Tuned, config: DictConfig) -> None:
    """Raise UserError if the tuning used another data set, loss, network or optimizer than the run."""
    then, here = flatten(winner.choices), flatten(to_plain(config))
    for name in FIXED:
        was, now = then.get(name), here.get(name)
        if was != now:
            raise UserError(
                f"The options of tuned={config.tuned} were found with {name}={was}, but this run has {name}={now}. "
                "Use the same value, or tune again."
            )
