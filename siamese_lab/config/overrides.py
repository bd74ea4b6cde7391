"""Read and write single overrides of the command line, such as `sampler.margin=0.3` or `+seed=1`."""

import re
from collections.abc import Sequence
from typing import Any


def option_of(override: str) -> str:
    """Return the name of the option that an override sets, adds or deletes.

    >>> option_of("+seed=1"), option_of("~logger")
    ('seed', 'logger')
    """
    return override.split("=", 1)[0].lstrip("+~")


def quoted(text: str) -> str:
    """Quote a text, so that Hydra's grammar takes it literally.

    >>> print(quoted("O'Hara [1]"))
    'O\\'Hara [1]'
    """
    text = without_interpolations(text)
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def without_interpolations(value: Any) -> Any:
    r"""Return a plain value in which OmegaConf takes every text literally, also `${oc.env:HOME}`.

    >>> print(without_interpolations("${oc.env:HOME}"))
    \${oc.env:HOME}
    """
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)
    if isinstance(value, dict):
        return {key: without_interpolations(each) for key, each in value.items()}
    return [without_interpolations(each) for each in value] if isinstance(value, list) else value


def last_value(option: str, arguments: Sequence[str]) -> str | None:
    """Return the last value that a command line gives to an option, without quotes.

    Return None if the command line does not set the option, or sets it to null or to an empty text.

    >>> last_value("resume", ["seed=1", "resume='last.ckpt'"])
    'last.ckpt'
    """
    given = [argument.split("=", 1)[1] for argument in arguments if argument.startswith(f"{option}=")]
    value = unquoted(given[-1]) if given else ""
    return None if value in ("", "null") else value


def unquoted(value: str) -> str:
    """Return a value of the command line without its quotes: the inverse of `quoted`.

    >>> unquoted(quoted("O'Hara")), unquoted("~/runs")
    ("O'Hara", '~/runs')
    """
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    inner = re.sub(rf"(\\+)({value[0]}|\Z)", lambda found: found[1][: len(found[1]) // 2] + found[2], value[1:-1])
    return re.sub(r"(\\+)\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", inner)


def in_grammar(value: object) -> str:
    """Return a plain value as it is written in an override.

    >>> in_grammar(None), in_grammar([1, "a"]), in_grammar({"x": True})
    ('null', '[1, a]', '{x: true}')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {in_grammar(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(in_grammar(each) for each in value) + "]"
    return str(value)
