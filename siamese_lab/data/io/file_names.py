"""File names as text that can be printed, stored and drawn, and the way back from such a text to the file.

A file system stores bytes. Python decodes a byte that is not UTF-8 to a lone surrogate, which cannot be written to a
file or a terminal. Other characters can be written, but break lines of tables or reorder text, see
`siamese_lab.errors.controls`.
"""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from siamese_lab.errors.controls import acts


def escape_name(name: str | os.PathLike[str]) -> str:
    r"""Return a name in which each byte that cannot be printed is written as `\xHH`. Other names do not change.

    >>> escape_name("caf\udce9.png")
    'caf\\xe9.png'
    >>> escape_name("Łódź 日本.png")
    'Łódź 日本.png'
    """
    return "".join(
        "".join(f"\\x{byte:02x}" for byte in os.fsencode(character)) if acts(character) else character
        for character in os.fspath(name)
    )


def find_file(path: Path) -> Path:
    """Return the path of the file that an escaped path names. The path itself is returned if it exists."""
    if "\\x" not in str(path) or os.path.lexists(path):
        return path
    restored = _restored(path)
    return Path(os.fsdecode(restored)) if os.path.lexists(restored) else path


def lies_below(name: str) -> bool:
    r"""Return whether a name, escaped or not, is a path below the folder that it is relative to.

    >>> lies_below("a/b.png"), lies_below("../b.png"), lies_below("/b.png"), lies_below(r"\x2e\x2e/b.png")
    (True, False, False, False)
    """
    return all(
        not path.is_absolute() and not path.drive and path.parts and ".." not in path.parts
        for each in (name, os.fsdecode(_restored(name)))
        for path in (PurePosixPath(each), *([PureWindowsPath(each)] if os.name == "nt" else []))
    )


def _restored(path: str | os.PathLike[str]) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), os.fsencode(path))
