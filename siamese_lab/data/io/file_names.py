"""File names as text that can be printed, stored and drawn, and the way back from such a text to the file.

A file system stores bytes. Python decodes a byte that is not UTF-8 to a lone surrogate, which cannot be written to a
file or a terminal. Line breaks and other control characters can be written, but break the lines of tables.
"""

import os
import re
import unicodedata
from pathlib import Path

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that are escaped: control characters, lone surrogates, and separators of lines and paragraphs."""


def escape_name(name: str | os.PathLike[str]) -> str:
    r"""Return a name in which each byte that cannot be printed is written as `\xHH`. Other names do not change.

    >>> escape_name("caf\udce9.png")
    'caf\\xe9.png'
    >>> escape_name("Łódź 日本.png")
    'Łódź 日本.png'
    """
    return "".join(
        "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
        if unicodedata.category(character) in UNPRINTABLE
        else character
        for character in os.fspath(name)
    )


def find_file(path: Path) -> Path:
    """Return the path of the file that an escaped path names. The path itself is returned if it exists."""
    if "\\x" not in str(path) or os.path.lexists(path):
        return path
    restored = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), os.fsencode(path))
    return Path(os.fsdecode(restored)) if os.path.lexists(restored) else path
