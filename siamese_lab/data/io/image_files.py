"""List and read the image files of a data set, in a zip or tar archive or in a folder."""

import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import pooch

from siamese_lab.data.io.archives import check_size, member_names, read_members
from siamese_lab.data.io.file_names import escape_name, find_file
from siamese_lab.data.io.folder_walk import FolderContent, FoundFile, is_system_name, walk_folder
from siamese_lab.data.io.messages import readable
from siamese_lab.data.io.open_image import TooLittleMemoryError, UnreadableImageError, check_file_size
from siamese_lab.errors import ResourceError


class StoredFile(NamedTuple):
    """A file that can be read."""

    row: int
    """Position in the names of its `ImageFiles`."""
    name: str
    size: int
    """Bytes that `read` returns."""
    read: Callable[[], bytes]
    """Returns the bytes of the file. Raises UserError if the file cannot be read. It may be called by any thread."""


MAX_BYTES = 1_000_000_000
"""Largest file that is read. An image of the largest size that `open_image` reads is smaller."""


@dataclass(frozen=True)
class ImageFiles:
    """The files with certain suffixes in one archive or folder. Properties are read on first access."""

    path: Path
    suffix: str | tuple[str, ...]
    left_out: frozenset[str] = frozenset()
    """Names to exclude."""
    walked: FolderContent | None = field(default=None, repr=False, compare=False)
    """Content of the folder, if it was walked before."""

    def without(self, names: frozenset[str]) -> "ImageFiles":
        """Return the files without some names."""
        return ImageFiles(self.path, self.suffix, self.left_out | names, self.content if self.path.is_dir() else None)

    @cached_property
    def content(self) -> FolderContent:
        """The content of the folder, including excluded names.

        Raises:
            UserError: if the folder or one of its subfolders cannot be read.
        """
        return walk_folder(self.path, self.suffix) if self.walked is None else self.walked

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the files, with / between folders, sorted folder by folder.

        Names of files in a folder have the form of `escape_name`; `find_file` finds the file.

        Raises:
            UserError: if the archive or folder cannot be read, or has members that point outside of it.
        """
        if self.path.is_dir():
            return tuple(file.name for file in self._listed)
        return tuple(sorted(member_names(self.path, self._is_chosen), key=lambda name: name.split("/")))

    @cached_property
    def key(self) -> str:
        """A hash of the content of an archive, or of the names, sizes and modification times in a folder."""
        if self.path.is_dir():
            return hashlib.sha256(repr([tuple(file) for file in self._listed]).encode()).hexdigest()[:16]
        check_size(self.path)
        with readable(self.path):
            return str(pooch.file_hash(str(self.path), alg="sha256"))[:16]

    def stored(self) -> Iterator[StoredFile]:
        """Yield each file in the order of storage, so that one file at a time is in memory.

        Raises:
            UserError: if the archive cannot be read.
        """
        if self.path.is_dir():
            for row, file in enumerate(self._listed):
                yield StoredFile(row, file.name, max(0, file.size), partial(read_image_file, self.path / file.name))
        else:  # a compressed tar can only be read from beginning to end, in its own order
            rows = {name: row for row, name in enumerate(self.names)}
            for member in read_members(self.path, self._is_chosen):
                yield _in_memory(rows[member.name], member.name, member.content)

    def contents(self) -> Iterator[bytes]:
        """Yield the bytes of each file, in the order of `names`. A tar that is not sorted is kept in memory.

        Raises:
            UserError: if a file cannot be read.
        """
        early: dict[int, bytes] = {}
        row = 0
        for file in self.stored():
            early[file.row] = file.read()
            while row in early:
                yield early.pop(row)
                row += 1

    @cached_property
    def _listed(self) -> list[FoundFile]:
        """The files of the folder that are not excluded."""
        return [file for file in self.content.files if file.name not in self.left_out]

    def _is_chosen(self, name: str) -> bool:
        """Return whether the name of a member has the suffix and is neither hidden nor in a hidden folder."""
        return (
            name.lower().endswith(self.suffix)
            and name not in self.left_out
            and not any(map(is_system_name, name.split("/")))
        )


def list_images(path: Path, suffix: str | tuple[str, ...] = ".png") -> ImageFiles:
    """List the files that end in a suffix, in an archive or anywhere under a folder.

    Upper case and lower case suffixes are equal.
    """
    return ImageFiles(path, suffix)


def read_image_file(path: Path) -> bytes:
    """Return the bytes of a file. The path may be escaped, see `find_file`.

    Raises:
        UserError: if the file does not exist, must not be read, is too large, or is not a regular file. A pipe would
            block forever.
    """
    file, name = find_file(path), escape_name(path)
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            raise ResourceError(f"{name} is a pipe, a device or a folder, but a file was expected. Remove it.")
        if state.st_size > MAX_BYTES:
            raise ResourceError(
                f"{name} has {state.st_size / 1e6:,.0f} MB, but an image has at most {MAX_BYTES / 1e6:,.0f} MB. "
                "Remove it, or make it smaller."
            )
        check_file_size(file, state.st_size)
        return file.read_bytes()
    except UnreadableImageError as error:
        raise ResourceError(f"{name} cannot be read as an image ({error}). {error.cure}") from error
    except MemoryError as error:
        cure = TooLittleMemoryError.cure
        raise ResourceError(f"{name} cannot be read, because the memory does not suffice. {cure}") from error
    except FileNotFoundError as error:
        what = "is a link that leads nowhere" if file.is_symlink() else "does not exist any more"
        raise ResourceError(f"{name} cannot be read: it {what}. Restore or delete it.") from error
    except PermissionError as error:
        raise ResourceError(f"{name} cannot be read (Permission denied). Allow it: chmod u+r '{name}'.") from error
    except OSError as error:
        raise ResourceError(f"{name} cannot be read ({error.strerror or error}). Replace it.") from error


def _in_memory(row: int, name: str, content: bytes) -> StoredFile:
    return StoredFile(row, name, len(content), lambda: content)
