"""Nothing that the lab prints or writes holds a character of others that acts on a terminal or reorders text."""

import io

import pytest
from rich.table import Table

from siamese_lab.config.errors import print_error
from siamese_lab.data.io.file_names import escape_name, find_file
from siamese_lab.errors import MAX_MESSAGE, ResourceError, UserError
from siamese_lab.errors.controls import escape_controls, escape_line
from siamese_lab.inference.threshold import Threshold
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.escapes import escape_code, escape_csv, escape_markdown
from siamese_lab.study.page import without_controls
from siamese_lab.study.protocol import as_override
from siamese_lab.study.tables.table import escape_latex

ACTS = {
    "\x1b[31m": r"\x1b[31m",
    "\x9b31m": r"\x9b31m",
    "\x07": r"\x07",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066": r"\u2066",
    "\u200f": r"\u200f",
    "\u2028": r"\u2028",
    "\udce9": r"\xe9",
    "\ufeff": r"\ufeff",
}
"""Texts, and how they are shown."""
PLAIN = ("Łódź 日本\u3000🙂", "👩\u200d🔬", "می\u200cخواهم", "a\u00a0b")


@pytest.mark.parametrize("text", ACTS)
def test_acting_characters_are_escaped_everywhere(text: str) -> None:
    shown = ACTS[text]
    assert escape_controls(text) == escape_line(text) == as_override(text) == without_controls(text) == shown
    assert str(UserError(text)) == str(ResourceError(text)) == shown
    assert escape_csv(text) == shown
    for escape in (escape_markdown, escape_code, escape_latex):
        assert not [each for each in escape(text) if each != escape_controls(each)]


@pytest.mark.parametrize("text", PLAIN)
def test_letters_of_every_language_stay(text: str) -> None:
    assert escape_controls(text) == escape_line(text) == escape_name(text) == str(UserError(text)) == text


def test_the_line_breaks_of_a_message_stay_but_not_those_within_a_value() -> None:
    assert str(UserError("a\n\tb")) == "a\n\tb"
    assert as_override("a\nNote: b") == r"a\nNote: b"


@pytest.mark.parametrize("color", [None, "truecolor"])
def test_a_console_escapes_lines_and_tables(color: str | None) -> None:
    file = io.StringIO()
    console = new_console(file=file, width=60, color_system=color, force_terminal=color is not None)
    print_plainly(console, "a\x1b[2Jb", "c\u202ed")
    table = Table("e\x9bf")
    table.add_row("[red]g\x1b]0;pwn\u202eh[/]")
    console.print(table)
    text = file.getvalue()
    for shown in (r"a\x1b[2Jb", r"c\u202ed", r"e\x9bf", r"g\x1b]0;pwn\u202eh"):
        assert shown in text
    assert ("\x1b[31mg" in text) == (color is not None)
    assert "\x1b[2J" not in text and "\x1b]0" not in text and "\u202e" not in text and "\x9b" not in text


def test_errors_of_others_are_escaped_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("a\x1b[2J\u202eb")
    assert capsys.readouterr().err == "Error: a\\x1b[2J\\u202eb\n"


def test_a_long_message_keeps_its_beginning_and_its_cure() -> None:
    message = str(UserError(f"Wrong: {'x' * 10**6}. Set seed=1."))
    assert message.startswith("Wrong: x") and message.endswith("Set seed=1.") and len(message) < MAX_MESSAGE


def test_an_escaped_file_name_finds_its_file(tmp_path) -> None:
    file = tmp_path / "a\u202egnp.exe"
    file.touch()
    assert escape_name(file.name) == r"a\xe2\x80\xaegnp.exe"
    assert find_file(tmp_path / escape_name(file.name)) == file


def test_a_threshold_is_described_in_one_line() -> None:
    stored = Threshold(1.0, 0.5, 0.5, 0.5, "pairs\x1b[2J", 2, "others\ndecision   the same", 1, 1, 1, "x")
    assert escape_line(stored.describe()) == stored.describe()
