"""Escape the characters that act on a terminal instead of being shown, such as colors and the direction of text.

Texts of others (names of files, records, checkpoints) hold any characters. Every console of the lab and every message
of a UserError passes here, so that a text cannot erase, color or reorder what the lab prints around it.
"""

import unicodedata

ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of such characters: control, format, lone surrogates, and separators of lines and paragraphs."""
JOINERS = "\u200c\u200d"
"""Format characters that spell words of Persian and Hindi, and emoji. They act on nothing else."""
LAYOUT = "\n\t"


def acts(character: str) -> bool:
    """Return whether a character acts on a terminal. Line breaks and tabs count."""
    if character.isprintable():
        return False
    in_emoji = character in JOINERS or "\U000e0020" <= character <= "\U000e007f"  # the latter spell regional flags
    return unicodedata.category(character) in ACTING and not in_emoji


def escape_controls(text: str, keep: str = LAYOUT) -> str:
    r"""Return a text in which acting characters are written as `\xHH`, `\uHHHH` or `\n`.

    Args:
        text: any text.
        keep: characters that stay; by default line breaks and tabs, which the lab's own texts hold.

    >>> escape_controls("\x1b[31mred\u202e 日本")
    '\\x1b[31mred\\u202e 日本'
    """
    if text.isprintable():
        return text
    return "".join(_escaped(each) if acts(each) and each not in keep else each for each in text)


def escape_line(text: str) -> str:
    r"""Return a text of others for a place within a line: line breaks are escaped, too.

    >>> escape_line("a\nNote: b")
    'a\\nNote: b'
    """
    return escape_controls(text, keep="")


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
