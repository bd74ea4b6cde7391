"""Accept earlier names of options on the command line for one minor version, with a warning that names the new one."""

import re
import sys
from collections.abc import Sequence
from importlib import metadata

from siamese_lab.config.installed import config_dirs, folders
from siamese_lab.config.overrides import option_of
from siamese_lab.errors import UserError
from siamese_lab.runs.renamed_options import REMOVED_CHOICES, RENAMED, Renamed

OF_NAME = {each.old: each for each in RENAMED}


def with_new_option_names(overrides: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
    """Return the overrides with the names of today, and say on standard error which names are out of date.

    Args:
        overrides: overrides; flags among them stay as they are.
        flags: flags of the command line that are not among the overrides.

    Raises:
        UserError: for a name that is no longer accepted, or a value that has no translation. The message has the new
            name.
    """
    return [_with_new_name(override, [*flags, *overrides]) for override in overrides]


def _with_new_name(override: str, arguments: Sequence[str]) -> str:
    if override in REMOVED_CHOICES:
        raise UserError(f"There is no {override} any more. {REMOVED_CHOICES[override]}")
    renamed = OF_NAME.get(option_of(override))
    if renamed is None or not ("=" in override or override.startswith("~")):  # a value of a flag: --config-dir name
        return override
    if is_option_of_own_config(renamed.old, arguments):
        return override
    new = translated(renamed, override)
    if not is_accepted(renamed.since, metadata.version("siamese_lab")):
        raise UserError(f"{renamed.old} is called {renamed.new} since version {renamed.since}. Write {new}.")
    print(
        f"Warning: {renamed.old} is called {renamed.new} since version {renamed.since}, and the earlier name ends with "
        f"the next minor version. Write {new}.",
        file=sys.stderr,
    )
    return new


def is_option_of_own_config(option: str, arguments: Sequence[str]) -> bool:
    """Return whether a config of the group has the option, in a folder of the user or of an installed package."""
    group, _, name = option.rpartition(".")
    own = [path for folder in [*folders(), *config_dirs(arguments)] for path in (folder / group).glob("*.yaml")]
    return bool(group) and any(re.search(rf"^{name}:", path.read_text("utf-8"), re.MULTILINE) for path in own)


def translated(renamed: Renamed, override: str) -> str:
    """Return an override with the new name of its option, and with the value that it has there.

    >>> translated(OF_NAME["data.hold_out"], "data.hold_out=10,4")
    'data.validation_fraction=0.1,0.25'

    Raises:
        UserError: if the value has no translation.
    """
    name, equals, value = override.partition("=")
    if renamed.convert is not None and equals:
        try:
            value = ",".join(str(renamed.convert(int(each))) for each in value.split(","))
        except ValueError:
            raise UserError(
                f"{renamed.old} is called {renamed.new} since version {renamed.since} and takes other values, but "
                f"{override} cannot be translated. Set {renamed.new}."
            ) from None
    return f"{name.removesuffix(renamed.old)}{renamed.new}{equals}{value}"


def is_accepted(since: str, version: str) -> bool:
    """Return whether a version still accepts the earlier name of an option that was renamed in version `since`.

    >>> is_accepted("0.1.0", "0.1.7"), is_accepted("0.1.0", "0.2.0")
    (True, False)
    """
    return version.split(".")[:2] == since.split(".")[:2]
