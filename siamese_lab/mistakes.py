"""What to say to a user whose command line was not understood."""

import argparse
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from siamese_lab.choices import config_folder
from siamese_lab.errors import UserError
from siamese_lab.overrides import option_of, quoted
from siamese_lab.registry import did_you_mean

BAD_INPUT = 2
"""Exit status."""


def print_mistake(error: BaseException, *command: str) -> None:
    """A user's mistake as one message on stderr, as `explain` puts it; any other error is raised again."""
    if not is_users_mistake(error):
        raise error
    message = f"Error: {explain(error, *command)}"
    Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False, style="red")


def is_users_mistake(error: BaseException) -> bool:
    """Whether the error says by itself what is wrong: raised about the choices by Hydra, or by the lab."""
    if isinstance(error, (HydraException, OmegaConfBaseException, FloatingPointError)):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    raised_in = module_of(frames[-1][0].f_globals) if frames else ""
    return isinstance(error, ValueError) and raised_in.startswith(("siamese_lab", "hydra."))


def module_of(names: Mapping[str, Any]) -> str:
    """The module that these are the globals of, by the name it has also when it is run by `python -m`."""
    spec = names.get("__spec__")
    return str(spec.name if spec is not None else names.get("__name__", ""))


def explain(error: BaseException, command: str = "train") -> str:
    """The error's message; of Hydra's, with the nearest name that there is in the configuration of the command."""
    message = str(error)
    if match := re.search(r"Could not find '(\w+)/([^']*)'\s+Available options in '\w+':\n((?:\t.*\n)*)", message):
        group, name, listed = match.groups()
        return unknown_name(group, name, listed.split())
    if match := re.search(r"Could not find 'hydra/launcher/([^']+)'", message):
        install = 'pip install "siamese_lab[launchers]"'
        return f"Hydra has no launcher {match[1]!r} here. Those of launcher=… come by: {install}."
    if match := re.search(r"Could not override '([^']+)'", message):
        return unknown_option(match.group(1), command)
    if message.startswith("Config group override must be"):
        return "A group cannot be null, as in logger=null. To leave a group out, write ~logger."
    if message.startswith("Error merging override") and error.__cause__ is not None:
        return f"{message}: {str(error.__cause__).splitlines()[0]}"
    return message


def unknown_name(group: str, name: str, known: Sequence[str]) -> str:
    """What to say to sampler=semihard."""
    return f"There is no {group} {name!r}.{did_you_mean(name, known)} Available: {', '.join(known)}."


def unknown_option(option: str, command: str) -> str:
    """What to say to data.classes_per_bach=4."""
    known = known_options(command)
    siblings = [each for each in known if each.rpartition(".")[0] == option.rpartition(".")[0]]
    listed = f" Options there: {', '.join(siblings)}." if siblings else ""
    return f"There is no option {option!r}.{did_you_mean(option, known)}{listed} See --help."


def known_options(command: str) -> list[str]:
    """All options of the groups chosen on the command line, as they are written there. Only training has groups."""
    groups = choices_of_groups(sys.argv[1:]) if command == "train" else []
    chosen = [argument for argument in groups if not re.search(r"[,(*]", argument)]
    chosen += searched_too(sys.argv[1:])
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose(command, overrides=chosen)
    return [name for name, _ in flattened(OmegaConf.to_container(config))]


def choices_of_groups(overrides: Iterable[str]) -> list[str]:
    """Those of the overrides that choose a group's config, such as sampler=hard."""
    groups = {path.name for path in config_folder().iterdir() if path.is_dir()}
    return [override for override in overrides if option_of(override) in groups]


def check_types(config: DictConfig, overrides: Sequence[str], command: str = "train") -> None:
    """Raise UserError where a word stands for a number, a number for a switch, or one value for a list.

    To be called in a job, as it composes the configuration anew, without what the command line says of options.

    Args:
        config: as composed from the command line.
        overrides: the command line.
        command: whose configuration it is.
    """
    shipped = dict(flattened(OmegaConf.to_container(hydra.compose(command, overrides=choices_of_groups(overrides)))))
    for option, value in flattened(OmegaConf.to_container(config)):
        expected = expectation(shipped.get(option))
        if expected is not None and value != "auto" and not isinstance(value, expected.types):
            raise UserError(f"{option} must be {expected.words}, like {shipped[option]}, but is {value!r}. See --help.")


class Expectation(NamedTuple):
    """What may stand in a value's place."""

    types: tuple[type, ...]
    words: str


def expectation(value: Any) -> Expectation | None:
    """What may stand in the place of a value that the lab ships; None where that cannot be told from it."""
    if isinstance(value, bool):
        return Expectation((bool,), "true or false")
    if isinstance(value, int):
        return Expectation((int,), "a whole number")
    if isinstance(value, float):
        return Expectation((int, float), "a number")
    if isinstance(value, list):
        return Expectation((list,), "a list")
    return None


def searched_too(arguments: Sequence[str]) -> list[str]:
    """What --config-dir on the command line is to `hydra.compose`."""
    return [f"hydra.searchpath=[{quoted(f'file://{own.absolute()}')}]" for own in folders_of_the_users(arguments)]


def folders_of_the_users(arguments: Sequence[str]) -> list[Path]:
    """What follows --config-dir."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path, action="append", default=[])
    folders: list[Path] = parser.parse_known_args(arguments)[0].config_dir
    return folders


def flattened(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted names and the values of a nested dictionary, of branches too."""
    for key, value in tree.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
