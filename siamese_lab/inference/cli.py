"""The command line of the commands that use a network: words, and options as NAME=VALUE, as training has them.

Hydra is not asked, as there are no groups to compose and the name of a file should need no quotes. The options of a
command are a dataclass, each field with what `--help` says of it, and where it cannot be called that with its name:

    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    folder: Annotated[Path, "the images to search", "in"]
    batch_size: Annotated[int, "images at a time"] = 256
"""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from siamese_lab.config.errors import user_errors_as_messages, wants_tracebacks
from siamese_lab.config.hydra_app import silence_lightning
from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean

Options = TypeVar("Options")
NOTHING = "null"
SEE = "See --help."


class Option(NamedTuple):
    """One of a command's."""

    field: str
    name: str
    """On the command line."""
    kind: Any
    default: Any
    """MISSING where it has to be given."""
    text: str

    @property
    def usage(self) -> str:
        """In brackets where it may be left out."""
        if self.default is MISSING:
            return f"{self.name}=…"
        return f"[{self.name}={NOTHING if self.default is None else shown(self.default)}]"


def options_of(schema: type) -> Iterator[Option]:
    """The options that a dataclass describes."""
    kinds = get_type_hints(schema, include_extras=True)
    for each in fields(schema):
        kind, text, *name = get_args(kinds[each.name])
        yield Option(each.name, name[0] if name else each.name, kind, each.default, text)


@dataclass(frozen=True)
class Command(Generic[Options]):
    """What a command is called with."""

    module: str
    """As in `python -m siamese_lab.verify`."""
    description: str
    schema: type[Options]
    """A dataclass of options, whose first fields take the words."""
    words: tuple[str, ...] = ()
    """What the words are, as `--help` names them, one for each of the first fields."""
    examples: tuple[str, ...] = ()

    def run(self, job: Callable[[Options], None]) -> None:
        """Read the command line and run the job. A user's error ends with one message and exit status 2."""
        given = self.parser().parse_intermixed_args().words
        silence_lightning()
        with user_errors_as_messages(tracebacks=wants_tracebacks()):
            job(self.read(given))

    def parser(self) -> argparse.ArgumentParser:
        """What tells of the command."""
        _, named = self._options()
        parser = argparse.ArgumentParser(
            prog=f"python -m {self.module}",
            usage=" ".join(["python -m", self.module, *self.words, *(each.usage for each in named)]),
            description=self.description,
            epilog="\n".join([*listed(named), "", "examples:", *(f"  {line}".rstrip() for line in self.examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
        )
        parser.add_argument("--help", "-h", action="help", help=argparse.SUPPRESS)
        parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
        return parser

    def read(self, given: Sequence[str]) -> Options:
        """The options that a command line gives.

        Raises:
            UserError: for too many words or too few, an option that is not there, is missing, or has another type.
        """
        plain, named = self._options()
        words = [word for word in given if not is_option(word)]
        if len(words) != len(plain):
            raise UserError(
                f"{self.module} takes {' '.join(self.words) or 'only NAME=VALUE'}, but was given "
                f"{' '.join(words) or 'no words'}. {SEE} A file whose name has a = is written ./NAME."
            )
        values = {each.field: value_of(word, each) for each, word in zip(plain, words, strict=True)}
        known = {each.name: each for each in named}
        for name, _, value in (word.partition("=") for word in given if is_option(word)):
            if name not in known:
                raise UserError(
                    f"There is no option {name!r}.{did_you_mean(name, known)} Options: {', '.join(known)}. {SEE}"
                )
            values[known[name].field] = value_of(value, known[name])
        for each in named:
            if each.default is MISSING and each.field not in values:
                raise UserError(f"Say {each.name}=…, {each.text}. {SEE}")
        return self.schema(**values)

    def _options(self) -> tuple[list[Option], list[Option]]:
        """Those that the words are, and those that are named."""
        every = list(options_of(self.schema))
        return every[: len(self.words)], every[len(self.words) :]


def listed(options: Sequence[Option]) -> Iterator[str]:
    """For `--help`."""
    yield "options:"
    width = max(len(each.name) for each in options) + 2
    for each in options:
        default = "" if each.default is MISSING else f" ({NOTHING if each.default is None else shown(each.default)})"
        yield f"  {each.name:<{width}}{each.text}{default}"


def is_option(word: str) -> bool:
    """Whether it has the form NAME=VALUE."""
    return re.match(r"[A-Za-z_][\w.]*=", word) is not None


def shown(value: Any) -> str:
    """As it is written on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def value_of(text: str, option: Option) -> Any:
    """A value of the option's kind: a path, a number, true or false, a word of several, or null where that may be.

    Raises:
        UserError: if it is none.
    """
    kind, name = option.kind, option.name
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    if isinstance(kind, UnionType):
        if text == NOTHING:
            return None
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        known = get_args(kind)
        if text not in known:
            raise UserError(f"{name} must be one of {', '.join(known)}, but is {text!r}.{did_you_mean(text, known)}")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"{name} must be true or false, but is {text!r}.")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise UserError(f"{name} must be a {'whole ' * (kind is int)}number, but is {text!r}.") from None
    if not text:
        raise UserError(f"{name} is empty. {SEE}")
    return kind(text).expanduser() if kind is Path else kind(text)
