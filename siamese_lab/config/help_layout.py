"""Lay out the text of `--help` in 80 columns."""

import argparse
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

WIDTH = 80
INDENT = 2
COLUMN = 28
"""Column in which the explanations begin, unless an option is longer."""


class HelpParser(argparse.ArgumentParser):
    """Parses a command line, and prints given lines as `--help`.

    Args:
        lines: the lines of the help.
        **options: options of `argparse.ArgumentParser`.
    """

    def __init__(self, lines: Iterable[str], **options: Any) -> None:
        super().__init__(**options, usage="%(prog)s … (see --help)")
        self.lines = tuple(lines)

    def format_help(self) -> str:
        """Return the help."""
        return "\n".join([*self.lines, ""])


def paragraph(text: str) -> list[str]:
    """Wrap a text."""
    return textwrap.wrap(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def two_columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield lines with an option on the left and its explanation on the right, or below a long option."""
    for option, text in rows:
        first, *others = wrapped_option(option)
        lines = textwrap.wrap(text, WIDTH - COLUMN, break_long_words=False, break_on_hyphens=False)
        if not others and INDENT + len(first) + 2 <= COLUMN:
            below = lines[1:]
            yield f"{'':{INDENT}}{first:<{COLUMN - INDENT}}{lines[0] if lines else ''}".rstrip()
        else:
            below = lines
            yield f"{'':{INDENT}}{first}"
            yield from others
        yield from (f"{'':{COLUMN}}{line}" for line in below)


def wrapped_option(option: str) -> list[str]:
    """Wrap an option with a long value; the first line is not indented yet."""
    if INDENT + len(option) <= WIDTH:
        return [option]
    first, *others = textwrap.wrap(option, WIDTH - 3 * INDENT, break_on_hyphens=False)
    return [first, *(f"{'':{3 * INDENT}}{line}" for line in others)]


def example_lines(examples: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the last lines of `--help`: what each example does, and the command."""
    yield "Examples:"
    for meaning, command in examples:
        yield f"  # {meaning}"
        lines = textwrap.wrap(command, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
        yield "  " + " \\\n      ".join(lines)
