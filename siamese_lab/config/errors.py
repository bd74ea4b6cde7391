"""Show errors of users as one message, and explain Hydra's errors about the command line."""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NamedTuple

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from siamese_lab.config.arguments import optional_groups
from siamese_lab.config.help_texts import OPTIONS
from siamese_lab.config.installed import config_dirs, folders
from siamese_lab.config.overrides import option_of, quoted
from siamese_lab.config.renamed import OF_NAME, is_option_of_own_config
from siamese_lab.config.schema import TrainConfig, config_folder
from siamese_lab.errors import BUG_STATUS, INTERRUPTED_STATUS, USER_ERROR_STATUS, UserError
from siamese_lab.registry import did_you_mean
from siamese_lab.runs.console import new_console
from siamese_lab.runs.options import flatten

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The environment variable that asks for tracebacks."""


@contextmanager
def user_errors_as_messages(command: str = "train", tracebacks: bool = False) -> Iterator[None]:
    """Print a user's error as one message on stderr and exit with status 2. Other errors pass unchanged.

    Ctrl-C ends with one line and status 130.

    Args:
        command: name of the command's configuration; messages list its options.
        tracebacks: if True, errors of users also pass unchanged.

    Raises:
        SystemExit: in place of a user's error or KeyboardInterrupt.
    """
    try:
        yield
    except Exception as error:
        if tracebacks or not is_user_error(error):
            raise
        print_error(explain(error, command))
        raise SystemExit(USER_ERROR_STATUS) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(INTERRUPTED_STATUS) from None


@contextmanager
def callback_errors_end_the_process() -> Iterator[None]:
    """End the process with status 2 and a message for a user's error, with status 1 and a traceback for a bug.

    Hydra turns an exception of a callback into a warning and continues, but lets SystemExit pass.
    """
    try:
        with user_errors_as_messages():
            yield
    except Exception:
        traceback.print_exc()
        raise SystemExit(BUG_STATUS) from None


def is_user_error(error: BaseException) -> bool:
    """Return whether a user can correct an error: a UserError, or an error of Hydra or OmegaConf.

    Hydra's InstantiationException does not count, because it wraps any error that the called class raised.
    """
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return not isinstance(error, InstantiationException)
    return isinstance(error, UserError)


def wants_tracebacks() -> bool:
    """Return whether the environment variable HYDRA_FULL_ERROR asks for tracebacks of users' errors."""
    return os.environ.get(FULL_ERROR) == "1"


def print_error(message: str) -> None:
    """Print a message on stderr."""
    new_console(stderr=True, soft_wrap=True).print(f"Error: {message}", markup=False, highlight=False, style="red")


def explain(error: BaseException, command: str = "train") -> str:
    """Return an error's message. A message of Hydra is replaced by one that suggests the nearest known name."""
    message = str(error)
    if match := re.search(r"Could not find '(\w+)/([^']*)'\s+Available options in '\w+':\n((?:\t.*\n)*)", message):
        group, name, listed = match.groups()
        nested = sorted((config_folder() / group).glob("*/*.yaml"))
        return unknown_name(group, name, [*listed.split(), *(f"{path.parent.name}/{path.stem}" for path in nested)])
    if match := re.search(r"Could not find 'hydra/launcher/([^']+)'", message):
        install = 'pip install "siamese_lab[launchers]"'
        return f"Hydra has no launcher {match[1]!r} here. Install the launchers: {install}."
    if match := re.search(r"Could not override '([^']+)'", message):
        return unknown_option(match.group(1), known_options(command))
    if isinstance(error, OverrideParseException):
        return unreadable_override(error.override)
    if match := re.search(r"Ambiguous value for argument '([^\n]*)'\n", message):
        return several_values(match[1])
    if message.startswith("Error merging override") and error.__cause__ is not None:
        return f"{message}: {str(error.__cause__).splitlines()[0]}"
    return message


def unreadable_override(override: str) -> str:
    """Return the message for an override that breaks Hydra's grammar, with the way to quote its value."""
    option, equals, value = override.partition("=")
    if not equals:
        return f"{override!r} sets nothing. Options are written NAME=VALUE, such as seed=1; --help lists them."
    return (
        f"The value of {option} cannot be read: {value}. Quote a value that holds spaces, brackets, commas, quotes, =, "
        f'#, ~ or letters beyond ASCII twice, for the shell and for the lab: "{option}={quoted(value)}".'
    )


def several_values(override: str) -> str:
    """Return the message for several values in a command that starts a single run."""
    option, _, value = override.partition("=")
    return (
        f"{override} has several values, but this is a single run. Add -m to run a sweep over them, or quote one text "
        f'that holds a comma: "{option}={quoted(value)}".'
    )


def unknown_name(group: str, name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown name in a group, such as sampler=semihard."""
    return f"There is no {group} {name!r}.{did_you_mean(name, known)} Available: {', '.join(known)}."


def unknown_option(option: str, known: Sequence[str]) -> str:
    """Return the message for an option that is not among the known ones, such as data.classes_per_bach=4."""
    if option in OF_NAME:
        renamed = OF_NAME[option]
        return f"There is no option {option!r}: it is called {renamed.new} since version {renamed.since}."
    siblings = [each for each in known if each.rpartition(".")[0] == option.rpartition(".")[0]]
    listed = f" Options there: {', '.join(siblings)}." if siblings else ""
    suggestion = did_you_mean(option, siblings) or did_you_mean(option, known)
    return f"There is no option {option!r}.{suggestion}{listed} See --help."


def known_options(command: str) -> list[str]:
    """List all options of the groups that the command line chooses. Only training has groups."""
    groups = choices_of_groups(sys.argv[1:]) if command == "train" else []
    chosen = [argument for argument in groups if not re.search(r"[,(*]", argument)]
    chosen += search_path_overrides(sys.argv[1:])
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose(command, overrides=chosen)
    return list(flatten(container_of(config), branches=True))


def check_option_names(arguments: Sequence[str]) -> None:
    """Raise UserError for an option of training that no shipped part has and that the chosen parts do not have either.

    Hydra finds the same, but composes the configuration twice before, and once more is needed for the message. Parts of
    the user's own are left to Hydra.
    """
    if config_dirs(arguments) or any(re.match(r"-(-config|c[pn])", each) for each in arguments) or folders():
        return
    listed, groups = OPTIONS["train"], {path.name for path in config_folder().iterdir() if path.is_dir()}
    for argument in arguments:
        if not re.match(r"[A-Za-z_][\w.]*=", argument) or (option := option_of(argument)).startswith("hydra."):
            continue
        beginnings = [option[:end] for end in (*(each.start() for each in re.finditer(r"\.", option)), len(option))]
        is_branch = any(name.startswith(f"{option}.") for name in listed)
        if option in groups or is_branch or any(name in listed for name in beginnings):
            continue
        first = [field.name for field in fields(TrainConfig)]
        if option.partition(".")[0] not in first:  # no configuration has it, so none is composed
            raise UserError(unknown_option(option, list(dict.fromkeys([*first, *listed]))))
        if option not in (known := known_options("train")):
            raise UserError(unknown_option(option, known))


def check_groups(arguments: Sequence[str]) -> None:
    """Raise UserError if a group is set to something else than a name, which Hydra rejects with its own errors."""
    parser = OverridesParser.create()
    for argument in choices_of_groups(arguments):
        try:
            override = parser.parse_override(argument)
        except HydraException:
            continue  # Hydra reports it
        if override.is_delete() or override.is_sweep_override():
            continue
        group, value = str(override.key_or_group), override.value()
        if isinstance(value, dict):
            raise UserError(
                f"A group takes the name of a part, but {argument} sets several options. Set each option by itself, as "
                f"in {group}.OPTION=VALUE."
            )
        if isinstance(value, list) and group not in optional_groups():
            raise UserError(f"The group {group} takes one name, but {argument} lists names. A sweep is -m {group}=A,B.")
        if not isinstance(value, (str, list)):
            names = ", ".join(sorted(path.stem for path in (config_folder() / group).glob("*.yaml")))
            nothing = f", or write {group}=null to leave the group out" if group in optional_groups() else ""
            raise UserError(
                f"A group cannot be {override.get_value_string()}, as in {argument}. Set it to a name{nothing}. "
                f"Names: {names}."
            )


def choices_of_groups(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that choose a group's config, such as sampler=hard."""
    groups = {path.name for path in config_folder().iterdir() if path.is_dir()}
    return [override for override in overrides if option_of(override) in groups]


def is_own_experiment(choice: str) -> bool:
    """Return whether a choice is an experiment that does not ship, such as experiment=mine."""
    group, _, name = choice.partition("=")
    return group.lstrip("+") == "experiment" and not (config_folder() / "experiment" / f"{name}.yaml").is_file()


def shipped_options(overrides: Iterable[str], command: str = "train") -> dict[str, Any]:
    """Return the options by dotted names, with the values that ship for the groups that a command line chooses.

    An experiment of the user's own is left out, because its values do not ship: they need checks as well.
    Call it inside a Hydra job: it composes the configuration again, without the options of the command line.
    """
    default = hydra.compose(
        command, overrides=[each for each in choices_of_groups(overrides) if not is_own_experiment(each)]
    )
    return {name: followed(default, value) for name, value in flatten(container_of(default), branches=True).items()}


def check_types(config: DictConfig, shipped: Mapping[str, Any]) -> None:
    """Raise UserError if an option has another type than its shipped value, such as a word instead of a number.

    A file of the user's own may also have an option by its earlier name, which is refused with the name of today.

    Args:
        config: the configuration that was composed from the command line.
        shipped: the result of `shipped_options` for this command line.
    """
    options = flatten(container_of(config), branches=True).items()
    # An option that follows another one comes later, so that the message names the option that the user has set.
    for option, value in sorted(options, key=lambda each: isinstance(each[1], str) and each[1].startswith("${")):
        if option in OF_NAME and option not in shipped and not is_option_of_own_config(option, sys.argv[1:]):
            raise UserError(unknown_option(option, [*shipped]))
        expected, value = expectation_of(option, shipped.get(option)), followed(config, value)
        if expected is None or expected.accepts(value) or (value == "auto" and option.startswith("trainer.")):
            continue  # `trainer_options` checks auto
        if not is_accepted_elsewhere(option, value):
            shown = "null" if value is None else repr(value)
            raise UserError(f"{option} must be {expected.words}, like {shipped[option]}, but is {shown}. See --help.")


def is_accepted_elsewhere(option: str, value: Any) -> bool:
    """Return whether a value has the type, such as null or 0.0, that another config ships for the option.

    An experiment may ship 256 for an option that is null otherwise, or 0 for one that is 0.0.
    """
    group, _, name = option.partition(".")
    places = [(file, name) for file in (config_folder() / group).glob("*.yaml")]
    places += [(config_folder() / f"every_{group}.yaml", name), (config_folder() / "train.yaml", option)]
    for file, path in places:
        content = OmegaConf.load(file) if file.is_file() else OmegaConf.create()
        assert isinstance(content, DictConfig)
        shipped = flatten(container_of(content), branches=True)
        if path in shipped:
            kind = expectation(shipped[path])
            if (value in (None, "auto") and value == shipped[path]) or (kind is not None and kind.accepts(value)):
                return True
    return False


class Expectation(NamedTuple):
    """The types that a value may have, and their name in messages."""

    types: tuple[type, ...]
    words: str

    def accepts(self, value: Any) -> bool:
        """Return whether a value has one of the types. In Python, true is an int, but as an option it is no number."""
        return isinstance(value, self.types) and (bool in self.types or not isinstance(value, bool))


WHOLE = Expectation((int,), "a whole number")
NUMBER = Expectation((int, float), "a number")
FREEZE = Expectation((bool, int), "true, false or a whole number")


def expectation_of(option: str, shipped: Any) -> Expectation | None:
    """Return the types of an option: those of its shipped value, and further ones of options that accept more."""
    if option == "network.freeze":
        return FREEZE
    expected = expectation(shipped)
    return NUMBER if option.startswith("data.augment.") and expected == WHOLE else expected


def expectation(value: Any) -> Expectation | None:
    """Return the types that may replace a shipped value; None if its type sets no limit."""
    if isinstance(value, bool):
        return Expectation((bool,), "true or false")
    if isinstance(value, int):
        return WHOLE
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, list):
        return Expectation((list,), "a list")
    return None


def search_path_overrides(arguments: Sequence[str]) -> list[str]:
    """Translate --config-dir on the command line into a search path for `hydra.compose`."""
    return [f"hydra.searchpath=[{quoted(f'file://{own.absolute()}')}]" for own in config_dirs(arguments)]


def followed(config: DictConfig, value: Any) -> Any:
    """Return the value of the option that a value follows, or the value itself.

    >>> followed(OmegaConf.create({"loss": {"margin": 0.2}}), "${oc.select:loss.margin,0.1}")
    0.2
    """
    match = (
        re.fullmatch(r"\$\{(?:oc\.select:)?([a-z_]+\.\w+)(?:,\w*|,[\d.]+)?\}", value)
        if isinstance(value, str)
        else None
    )
    return OmegaConf.select(config, match[1]) if match else value


def container_of(config: DictConfig) -> dict[Any, Any]:
    """Return a configuration as a plain dictionary, with unresolved interpolations."""
    container = OmegaConf.to_container(config)
    assert isinstance(container, dict)
    return container
