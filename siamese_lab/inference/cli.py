"""Parse the command lines of embed, verify, search and export: positional arguments, and options as NAME=VALUE.

Hydra is not used here: there are no groups to compose, and a file name should need no quotes. The options of a command
are a dataclass. Each field has its `--help` text, and an option name if the name cannot be the name of the field:

    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    folder: Annotated[Path, "the images to search", "in"]
    batch_size: Annotated[int, "images at a time"] = 256
"""

import argparse
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from siamese_lab.config.errors import user_errors_as_messages, wants_tracebacks
from siamese_lab.config.help_layout import WIDTH, HelpParser, example_lines, paragraph, two_columns
from siamese_lab.config.hydra_app import silence_lightning
from siamese_lab.config.overrides import in_grammar
from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean

Options = TypeVar("Options")
NOTHING = "null"
SEE = "See --help."


class Option(NamedTuple):
    """An option of a command."""

    field: str
    name: str
    """Name on the command line."""
    kind: Any
    """Type of the value."""
    default: Any
    """Default value, or MISSING if the option is required."""
    text: str
    """Text for `--help`."""

    @property
    def usage(self) -> str:
        """The option in the usage line, in brackets if it is optional."""
        return f"{self.name}=…" if self.default is MISSING else f"[{self.name}=…]"

    @property
    def shown(self) -> str:
        """The option with its default value, as `--help` lists it."""
        return f"{self.name}={'…' if self.default is MISSING else in_grammar(self.default)}"


def options_of(schema: type) -> Iterator[Option]:
    """Yield the options that a dataclass describes."""
    kinds = get_type_hints(schema, include_extras=True)
    for each in fields(schema):
        kind, text, *name = get_args(kinds[each.name])
        yield Option(each.name, name[0] if name else each.name, kind, each.default, text)


@dataclass(frozen=True)
class Command(Generic[Options]):
    """A command: its module, its options and its help text."""

    module: str
    """Name of the module, such as `siamese_lab.verify`."""
    description: str
    schema: type[Options]
    """Dataclass of the options. The positional arguments fill its first fields."""
    words: tuple[str, ...] = ()
    """Names of the positional arguments in `--help`, one for each of the first fields."""
    examples: tuple[tuple[str, str], ...] = ()
    """Descriptions of the examples, each with its command line."""
    notes: tuple[str, ...] = ()
    """Lines above the examples."""

    def run(self, job: Callable[[Options], None]) -> None:
        """Read the command line and run the job. A user's error ends with one message and exit status 2."""
        given = self.parser().parse_intermixed_args().words
        silence_lightning()
        with user_errors_as_messages(tracebacks=wants_tracebacks()):
            job(self.parse_options(given))

    def parser(self) -> argparse.ArgumentParser:
        """Build the argument parser, which also writes `--help`."""
        parser = HelpParser(self.help_lines(), prog=f"python -m {self.module}")
        parser.add_argument("words", nargs="*")
        return parser

    def help_lines(self) -> Iterator[str]:
        """Yield the lines of `--help`."""
        positional, named = self._options()
        usage = " ".join(["python -m", self.module, *self.words, *(each.usage for each in named)])
        yield from paragraph(self.description)
        yield ""
        yield from textwrap.wrap(usage, WIDTH, initial_indent="  ", subsequent_indent="      ")
        yield ""
        yield "Options, with their defaults:"
        yield ""
        yield from two_columns((word, each.text) for word, each in zip(self.words, positional, strict=True))
        yield from two_columns((each.shown, each.text) for each in named)
        yield ""
        if self.notes:
            yield from self.notes
            yield ""
        yield from example_lines(self.examples)

    def parse_options(self, given: Sequence[str]) -> Options:
        """Return the options of a command line.

        Raises:
            UserError: if the number of positional arguments is wrong, an option is unknown or missing, or a value has
                the wrong type.
        """
        positional, named = self._options()
        words = [word for word in given if not is_option(word)]
        if len(words) != len(positional):
            raise UserError(
                f"{self.module} expects {' '.join(self.words) or 'only options NAME=VALUE'}, but got "
                f"{' '.join(words) or 'no file'}. {self._advice(words, given)} {SEE}"
            )
        values = {each.field: parse_value(word, each) for each, word in zip(positional, words, strict=True)}
        known = {each.name: each for each in named}
        for name, _, value in (word.partition("=") for word in given if is_option(word)):
            if name not in known:
                raise UserError(
                    f"There is no option {name!r}.{did_you_mean(name, known)} Options: {', '.join(known)}. {SEE}"
                )
            values[known[name].field] = parse_value(value, known[name])
        for each in named:
            if each.default is MISSING and each.field not in values:
                raise UserError(f"The option {each.name}=… is required ({each.text}). {SEE}")
        return self.schema(**values)

    def _advice(self, words: Sequence[str], given: Sequence[str]) -> str:
        """Return how to correct a wrong number of positional arguments."""
        if len(words) < len(self.words):
            return "Write a file name that contains = as ./NAME."
        _, named = self._options()
        set_already = {word.partition("=")[0] for word in given if is_option(word)}
        needed = [each.name for each in named if each.default is MISSING and each.name not in set_already]
        return f"Did you mean {needed[0]}={words[-1]}?" if needed else "Options are written NAME=VALUE."

    def _options(self) -> tuple[list[Option], list[Option]]:
        """Return the positional arguments and the named options."""
        every = list(options_of(self.schema))
        return every[: len(self.words)], every[len(self.words) :]


def is_option(word: str) -> bool:
    """Return True if an argument has the form NAME=VALUE."""
    return re.match(r"[A-Za-z_][\w.]*=", word) is not None


def parse_value(text: str, option: Option) -> Any:
    """Convert a text to the type of an option: a path, a number, true or false, one of several words, or null.

    Raises:
        UserError: if the text has another type.
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
