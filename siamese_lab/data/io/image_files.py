"""List and read the image files of a data set, in a zip or tar archive or in a folder."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pooch

from siamese_lab.data.io.archives import check_size, member_names, read_members
from siamese_lab.data.io.messages import readable


@dataclass(frozen=True)
class ImageFiles:
    """The files with certain suffixes in one archive or folder. Properties are read on first access."""

    path: Path
    suffix: str | tuple[str, ...]
    left_out: frozenset[str] = frozenset()
    """Names to exclude."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the files, with / between folders, sorted folder by folder.

        Raises:
            UserError: if the archive cannot be read, or has members that point outside of it.
        """
        if self.path.is_dir():
            return tuple(name for name, _, _ in self._listed)
        return tuple(sorted(member_names(self.path, self._is_chosen), key=lambda name: name.split("/")))

    @cached_property
    def key(self) -> str:
        """A hash of the content of an archive, or of the names, sizes and modification times in a folder."""
        if self.path.is_dir():
            return hashlib.sha256(repr(self._listed).encode()).hexdigest()[:16]
        check_size(self.path)
        with readable(self.path):
            return str(pooch.file_hash(str(self.path), alg="sha256"))[:16]

    def contents(self) -> Iterator[bytes]:
        """Yield the bytes of each file, in the order of `names`.

        Raises:
            UserError: if a file cannot be read.
        """
        if self.path.is_dir():
            for name in self.names:
                with readable(self.path / name):
                    content = (self.path / name).read_bytes()
                yield content
        else:  # an archive is read in its own order, and members that come early wait for their turn
            early: dict[str, bytes] = {}
            row = 0
            for member in read_members(self.path, self._is_chosen):
                early[member.name] = member.content
                while row < len(self.names) and self.names[row] in early:
                    yield early.pop(self.names[row])
                    row += 1

    @cached_property
    def _listed(self) -> list[tuple[str, int, int]]:
        """Name, size and modification time of each file in the folder."""
        listed = []
        with readable(self.path):
            for parent, _, files in os.walk(self.path, followlinks=True):
                for file in files:
                    path = Path(parent, file)
                    name = path.relative_to(self.path).as_posix()
                    if self._is_chosen(name):
                        state = path.stat()
                        listed.append((name, state.st_size, state.st_mtime_ns))
        return sorted(listed, key=lambda each: each[0].split("/"))

    def _is_chosen(self, name: str) -> bool:
        """Return whether the name has the suffix and is no hidden system file, such as `__MACOSX/._0001.png`."""
        parts = name.split("/")
        return (
            name.lower().endswith(self.suffix)
            and name not in self.left_out
            and not any(part.startswith("._") or part == "__MACOSX" for part in parts)
        )


def list_images(path: Path, suffix: str | tuple[str, ...] = ".png") -> ImageFiles:
    """List the files that end in a suffix, in an archive or anywhere under a folder.

    Upper case and lower case suffixes are equal.
    """
    return ImageFiles(path, suffix)
