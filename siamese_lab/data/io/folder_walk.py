"""Walk a folder of images. Every command that reads a folder uses this walk.

Hidden and system files are ignored. Each folder is visited once, however many links lead to it. A folder that cannot
be read is an error. Everything that is left out is recorded with its reason.
"""

import os
import stat
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from siamese_lab.data.io.file_names import escape_name
from siamese_lab.errors import ResourceError

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".jpe", ".jfif", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".jp2", ".apng", ".dib",
)  # fmt: skip
"""Suffixes of the files that count as images, in lower case."""
SYSTEM_NAMES = frozenset(
    {
        "__macosx", "temporary items", "network trash folder",  # macOS
        "$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini",  # Windows
        "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",  # network storage
        "lost+found", "__pycache__",
    }
)  # fmt: skip
"""Names of files and folders that systems create, in lower case."""
SHOWN = 3
"""Number of names that a message lists for each reason."""


class Reason(Enum):
    """Says why something was left out: one thing, several things, and how to include them."""

    OTHER_TYPE = (
        "file of another type",
        "files of other types",
        f"Convert photographs to one of the types that are read ({', '.join(IMAGE_SUFFIXES[:4])}, …).",
    )
    HIDDEN = (
        "hidden or system file or folder",
        "hidden or system files and folders",
        "Rename hidden folders that hold images of yours.",
    )
    LINKED = (
        "link to a folder that is read anyway or contains this folder",
        "links to folders that are read anyway or contain this folder",
        "Replace a link by a copy if it is a class by itself.",
    )
    BROKEN = ("link that leads nowhere", "links that lead nowhere", "Mend or delete such links.")
    STRAY = ("image in no class folder", "images in no class folder", "Move images into the folder of their class.")
    EMPTY = (
        "class folder without images",
        "class folders without images",
        "Put images into such folders, or delete the folders.",
    )

    def __init__(self, one: str, several: str, cure: str) -> None:
        self.one = one
        self.several = several
        self.cure = cure


class FoundFile(NamedTuple):
    """A file in a folder."""

    name: str
    """Path relative to the folder, with / as separator, in the form of `escape_name`."""
    size: int
    """Bytes; -1 if the file is a link that leads nowhere."""
    mtime_ns: int


class FolderContent(NamedTuple):
    """The files of a folder that have one of the wanted suffixes, and everything else."""

    files: tuple[FoundFile, ...]
    """Sorted folder by folder."""
    folders: tuple[str, ...]
    """Relative paths of the visited subfolders, sorted."""
    left_out: Mapping[Reason, tuple[str, ...]]
    """Names that were left out, by reason."""


class _Folder(NamedTuple):
    path: str
    prefix: str
    """Path relative to the walked folder: empty, or with a / at the end."""


def walk_folder(folder: Path, suffix: str | tuple[str, ...] = IMAGE_SUFFIXES) -> FolderContent:
    """List the files with certain suffixes in a folder and its subfolders.

    Real folders are visited before links to folders. A link is left out if its target was visited already, or
    contains the link or `folder`.

    Args:
        folder: the folder. Its own name may be hidden.
        suffix: suffixes in lower case. Files with upper case suffixes are found, too.

    Raises:
        UserError: if a folder cannot be read, or two names are equal after `escape_name`.
    """
    return _Walk(folder, suffix).content()


class _Walk:
    """The state of one walk."""

    def __init__(self, folder: Path, suffix: str | tuple[str, ...]) -> None:
        self.root = str(folder)
        self.real_root = os.path.realpath(folder)
        self.suffix = suffix
        self.files: list[FoundFile] = []
        self.folders: list[str] = []
        self.left_out: dict[Reason, list[str]] = {}
        self.visited: set[tuple[int, int] | str] = set()
        self.links: deque[_Folder] = deque()

    def content(self) -> FolderContent:
        self._visit_below(_Folder(self.root, ""), check_visited=False)
        while self.links:
            link = self.links.popleft()
            if self._leads_back(link):
                self._leave_out(Reason.LINKED, link.prefix.rstrip("/"))
            else:
                self._visit_below(link, check_visited=True)
        files = sorted(self.files, key=lambda file: file.name.split("/"))
        _check_distinct(self.root, [*self.folders, *(file.name for file in files)])
        escaped = tuple(file._replace(name=escape_name(file.name)) for file in files)
        left_out = {reason: tuple(map(escape_name, sorted(names))) for reason, names in self.left_out.items()}
        return FolderContent(escaped, tuple(map(escape_name, sorted(self.folders))), left_out)

    def _visit_below(self, start: _Folder, check_visited: bool) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            identity = _identity(folder.path)
            # Outside of links no folder can come twice, and some network file systems repeat the numbers of folders.
            if check_visited and identity in self.visited:
                self._leave_out(Reason.LINKED, folder.prefix.rstrip("/"))
                continue
            self.visited.add(identity)
            if folder.prefix:
                self.folders.append(folder.prefix.rstrip("/"))
            waiting += self._visit(folder)

    def _visit(self, folder: _Folder) -> Iterator[_Folder]:
        """Record the files and links of one folder, and yield its subfolders."""
        for entry in _scan(folder.path):
            name = f"{folder.prefix}{entry.name}"
            inside = _Folder(entry.path, f"{name}/")
            if is_system_name(entry.name):
                self._leave_out(Reason.HIDDEN, name)
            elif entry.is_dir(follow_symlinks=False):
                yield inside
            elif entry.is_symlink() and problem_of_folder(Path(entry.path)) is None:
                self.links.append(inside)
            elif entry.name.lower().endswith(self.suffix):
                self.files.append(FoundFile(name, *_size_and_time(entry, folder.path)))
            elif entry.is_symlink() and not _is_there(Path(entry.path)):
                self._leave_out(Reason.BROKEN, name)
            else:
                self._leave_out(Reason.OTHER_TYPE, name)

    def _leads_back(self, link: _Folder) -> bool:
        """Return whether a link leads to a visited folder, or to a folder that contains the link or the root."""
        target = os.path.realpath(link.path)
        around = (self.real_root, os.path.realpath(Path(link.path).parent))
        return _identity(link.path) in self.visited or any(_contains(target, place) for place in around)

    def _leave_out(self, reason: Reason, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)


def is_system_name(name: str) -> bool:
    """Return whether a file or folder name is hidden, or belongs to an operating system or a storage system."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM_NAMES


def problem_of_folder(path: Path) -> str | None:
    """Return why a path is not a folder that can be read, or None if it is one."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such folder"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if stat.S_ISDIR(kind) else "it is a file, not a folder"


def describe_left_out(folder: Path, left_out: Mapping[Reason, Sequence[str]]) -> str:
    """Return one line that counts what was left out of a folder, with the reasons and the cures; "" for nothing."""
    reasons = [(reason, left_out[reason]) for reason in Reason if left_out.get(reason)]
    if not reasons:
        return ""
    counts = "; ".join(_count(reason, names) for reason, names in reasons)
    return f"Left out of {escape_name(folder)}: {counts}. {' '.join(reason.cure for reason, _ in reasons)}"


def _count(reason: Reason, names: Sequence[str]) -> str:
    if reason is Reason.OTHER_TYPE:
        kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names).most_common()
        shown = [f"{kind}: {count:,}" for kind, count in islice(kinds, SHOWN)]
        more = len(kinds) - SHOWN
    else:
        shown, more = list(names[:SHOWN]), len(names) - SHOWN
    rest = [f"{more:,} more"] if more > 0 else []
    return f"{len(names):,} {reason.one if len(names) == 1 else reason.several} ({', '.join(shown + rest)})"


def _scan(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable_folder(path, error) from error


def _size_and_time(entry: os.DirEntry[str], folder: str) -> tuple[int, int]:
    try:
        state = entry.stat()
    except PermissionError as error:
        if not entry.is_symlink():  # the names of the folder may be listed, but its files may not be opened
            raise _unreadable_folder(folder, error) from error
        return -1, -1
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def _unreadable_folder(path: str, error: OSError) -> ResourceError:
    name = escape_name(path)
    return ResourceError(
        f"The folder {name} cannot be read ({error.strerror}). Allow it (chmod u+rx '{name}'), or move the folder out "
        "of the images."
    )


def _identity(path: str) -> tuple[int, int] | str:
    """Return a value that is equal for all paths to the same folder."""
    try:
        state = Path(path).stat()
    except OSError as error:
        raise _unreadable_folder(path, error) from error
    return (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(path)


def _contains(outer: str, inner: str) -> bool:
    return Path(inner).is_relative_to(outer)


def _is_there(path: Path) -> bool:
    """Return whether a path exists. A link that leads nowhere or to itself does not."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _check_distinct(root: str, names: Sequence[str]) -> None:
    """Raise UserError if two names are equal after `escape_name`."""
    raw_of: dict[str, str] = {}
    for name in names:
        if raw_of.setdefault(escape_name(name), name) != name:
            raise ResourceError(
                f"Two files or folders in {escape_name(root)} are both called {escape_name(name)} when bytes that are "
                "not UTF-8 are escaped. Rename one of them."
            )
