"""Escape names in the formats that the lab writes: one function for each format. Names come from folders and files.

Each also escapes characters that act on a terminal or reorder text, see `siamese_lab.errors.controls`.

HTML is escaped by jinja2's autoescape, LaTeX by `study.tables.table.escape_latex`, and figures switch mathematics off.
"""

import re

from siamese_lab.errors.controls import escape_controls

FORMULA = (*"=+-@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r")
"""First characters of cells that a spreadsheet takes for a formula, also full-width ones (OWASP, "CSV Injection")."""


def escape_csv(text: str) -> str:
    """Return a text for a cell of a CSV file. An apostrophe in front of a formula makes it a text.

    >>> escape_csv("=1+1"), escape_csv("semi_hard")
    ("'=1+1", 'semi_hard')
    """
    guarded = f"'{text}" if text.startswith(FORMULA) else text
    return escape_controls(guarded)


def escape_markdown(text: str) -> str:
    r"""Return a text for a line or a table of Markdown, in which tags, links and formulas are plain text.

    Characters that are harmless stay, such as `<` before a number.

    >>> print(escape_markdown("<b>a|b</b>"), escape_markdown("<0.001"))
    &lt;b>a\|b&lt;/b> <0.001
    """
    text = re.sub(r"&(?=#?\w+;)", "&amp;", plain_line(text))
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    return re.sub(r"([|$`]|\](?=[(\[:]))", r"\\\1", text)


def escape_code(text: str) -> str:
    """Return a text for a span of code in Markdown, which stands between single backquotes.

    >>> escape_code("a`b|c")
    "a'b|c"
    """
    return plain_line(text.replace("`", "'"))


def plain_line(text: str) -> str:
    r"""Return a text in one line, with single spaces and without acting characters.

    >>> plain_line("a\n b\x1b[0m")
    'a b\\x1b[0m'
    """
    return escape_controls(" ".join(text.split()))
