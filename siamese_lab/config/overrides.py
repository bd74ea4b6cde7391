"""The grammar of the command line's overrides, as far as the lab has to read and write it."""

from collections.abc import Sequence


def option_of(override: str) -> str:
    """What an override is about: 'seed' of '+seed=1'."""
    return override.split("=", 1)[0].lstrip("+~")


def quoted(text: str) -> str:
    """A value that Hydra's grammar takes as it is."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def last_value(option: str, arguments: Sequence[str]) -> str | None:
    """The value that a command line ends up giving to an option, without quotes; None for null or nothing."""
    given = [argument.split("=", 1)[1] for argument in arguments if argument.startswith(f"{option}=")]
    value = given[-1].strip("'\"") if given else ""
    return None if value in ("", "null") else value
