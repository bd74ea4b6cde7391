"""Find the copy of a published image set: its folders, or its archives, which are unpacked, or else a download.

A packaging is one form in which a set is published. A copy that lacks a part, or mixes two packagings, is refused.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from siamese_lab.data.io.download import Remote
from siamese_lab.data.io.messages import readable
from siamese_lab.data.io.sources import Sources
from siamese_lab.data.io.unpack import check_digest, unpack
from siamese_lab.errors import ResourceError

UNPACKED = "unpacked"
"""Folder of the cache that holds unpacked archives."""
KEY_LENGTH = 12


class Pack(NamedTuple):
    """A folder of images or lists, and the archive that its publishers offer."""

    folder: str
    archive: str
    size: int | None = None
    """Bytes of the archive, if they are known."""
    urls: tuple[str, ...] = ()
    """URLs of the archive; empty if it must be placed by hand."""


class Packaging(NamedTuple):
    """One form in which a set is published: folders or their archives, and lists next to them."""

    packs: tuple[Pack, ...]
    lists: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the folders and lists."""
        return (*(f"{pack.folder}/" for pack in self.packs), *self.lists)


class Copy(NamedTuple):
    """A copy of a set with files that can be read one by one."""

    packaging: Packaging
    place: Path
    """The folder that holds the lists of the packaging."""
    root: Path
    """The folder that contains all images."""
    folders: Mapping[str, str]
    """The place of each folder of the packaging, relative to `root`; "." if it is `root`."""

    @classmethod
    def of(cls, packaging: Packaging, place: Path, paths: Mapping[str, Path]) -> "Copy":
        """Return the copy with these paths of its folders."""
        root = Path(os.path.commonpath(paths.values()))
        return cls(packaging, place, root, {name: path.relative_to(root).as_posix() for name, path in paths.items()})

    def name(self, folder: str, rest: str) -> str:
        """Return the name, relative to `root`, of a file in a folder of the packaging."""
        return str(PurePosixPath(self.folders[folder], rest))

    def list_path(self, name: str) -> Path:
        """Return the path of a list: next to the folders, or "FOLDER/NAME" inside of a folder of the packaging.

        Raises:
            ResourceError: if there is no such file.
        """
        folder, _, rest = name.partition("/")
        path = self.root / self.folders[folder] / rest if folder in self.folders else self.place / name
        if not path.is_file():
            raise ResourceError(f"There is no list {path}. Put the file {path.name} of the original set there.")
        return path


class Found(NamedTuple):
    """A complete copy, with folders or with archives."""

    packaging: Packaging
    place: Path
    packed: bool


@dataclass
class PublishedFiles:
    """The files of one published set.

    Args:
        title: name of the set, for messages.
        sources: the folders that may hold the set.
        packagings: the forms in which the set is published.
        digests: published checksums of archives and lists, by name.
        cache: folder for unpacked archives.
    """

    title: str
    sources: Sources
    packagings: Sequence[Packaging]
    digests: Mapping[str, str]
    cache: Path = field(repr=False)

    def check_root(self) -> None:
        """Raise UserError if the user's root does not exist."""
        self.sources.folders(self.packagings[0].parts[0])

    def find(self) -> Found | None:
        """Return the first complete copy; None if there is no part of any copy.

        Raises:
            UserError: if a copy is incomplete, mixes two packagings, or mixes folders and archives.
        """
        for place in self.sources.folders(self.packagings[0].parts[0]):
            found = find_in(self.title, place, self.packagings)
            if found is not None:
                return found
        return None

    def copy(self) -> Copy:
        """Return a copy with files that can be read one by one. Download and unpack its archives if necessary.

        Raises:
            UserError: see `find`; if there is no copy, its download fails, or an archive is not the published one.
        """
        found = self.find() or self._download()
        paths = {pack.folder: self._folder(found, pack) for pack in found.packaging.packs}
        return Copy.of(found.packaging, found.place, paths)

    def _folder(self, found: Found, pack: Pack) -> Path:
        """Return the path of a folder of a copy. Unpack its archive if necessary."""
        if not found.packed:
            return found.place / pack.folder
        archive = found.place / pack.archive
        path = unpack(archive, self._target(found, pack), self.digests.get(pack.archive)) / pack.folder
        if not path.is_dir():
            raise ResourceError(f"{archive} holds no folder {pack.folder}/. Replace it.")
        return path

    def faults_of_packed(self, found: Found) -> list[str] | None:
        """Return the archives of a copy that are not the published ones; None if the images themselves can be checked.

        Archives with a published checksum are checked without unpacking them.
        """
        packs = found.packaging.packs
        if not found.packed or not all(pack.archive in self.digests for pack in packs):
            return None
        if all(self._target(found, pack).is_dir() for pack in packs):
            return None
        return [
            fault for pack in packs for fault in check_digest(found.place / pack.archive, self.digests[pack.archive])
        ]

    def faults_of_lists(self, found: Found) -> list[str]:
        """Return a sentence for each list that differs from the published one."""
        return [
            f"{found.place / name} differs from the published list (its {self.digests[name].split(':')[0]} is another "
            "one). Replace it."
            for name in found.packaging.lists
            if name in self.digests and check_digest(found.place / name, self.digests[name])
        ]

    def absent(self) -> str:
        """Return a sentence that says that there is no copy, and where its files belong."""
        where = self.sources.root if self.sources.root is not None else "paths.data (not set)"
        folder = f"{where}/{self.sources.folder}/" if self.sources.folder else f"{where}/"
        forms = "; or ".join(map(self._described, self.packagings))
        if self._remote() is not None:
            return f"{self.title} is neither in {folder} nor downloaded yet. Its files are {forms}."
        return (
            f"{self.title} is not in {folder}, and cannot be downloaded from here: its publishers have no public link. "
            f"Put its files there: {forms}."
        )

    def _described(self, packaging: Packaging) -> str:
        archives = [
            f"{pack.folder}/ or {pack.archive}{facts(pack.size, self.digests.get(pack.archive))}"
            for pack in packaging.packs
        ]
        return ", ".join((*archives, *(f"{name}{facts(None, self.digests.get(name))}" for name in packaging.lists)))

    def _remote(self) -> Remote | None:
        """Return the download of the set, which is one archive; None if it must be placed by hand.

        An archive without a published checksum is not downloaded.
        """
        (first, *others), lists = self.packagings[0]
        digest = self.digests.get(first.archive)
        if others or lists or not first.urls or digest is None or first.size is None:
            return None
        return Remote(first.archive, first.urls, digest, first.size)

    def _download(self) -> Found:
        remote = self._remote()
        if remote is None:
            raise ResourceError(self.absent())
        path = self.sources.find_or_download(remote)
        return Found(self.packagings[0], path.parent, packed=True)

    def _target(self, found: Found, pack: Pack) -> Path:
        """Return the folder of an unpacked archive. Its name has the published checksum, or size and date."""
        digest = self.digests.get(pack.archive)
        if digest is not None:
            key = digest.split(":")[1][:KEY_LENGTH]
        else:
            archive = found.place / pack.archive
            with readable(archive):
                state = archive.stat()
            key = f"{state.st_size}-{state.st_mtime_ns}"
        return self.cache / UNPACKED / f"{Path(pack.archive).stem}-{key}"


def find_in(title: str, place: Path, packagings: Sequence[Packaging]) -> Found | None:
    """Return the complete copy in a folder; None if the folder holds no part of the set.

    Raises:
        ResourceError: if the copy is incomplete or mixed.
    """
    begun = [each for each in packagings if any(there(place, each).values())]
    if not begun:
        return None
    if len(begun) > 1:
        first, second = (next(part for part, found in there(place, each).items() if found) for each in begun[:2])
        raise ResourceError(
            f"{place} holds files of two packagings of {title}, {first} and {second}, which number and sort the images "
            f"in different ways. Keep either {' and '.join(begun[0].parts)} or {' and '.join(begun[1].parts)}."
        )
    (packaging,) = begun
    if missing := [part for part, found in there(place, packaging).items() if not found]:
        present = [part for part, found in there(place, packaging).items() if found]
        raise ResourceError(
            f"{place} holds {' and '.join(present)} of {title}, but not {' and '.join(missing)}. Add what is missing."
        )
    unpacked = [pack for pack in packaging.packs if (place / pack.folder).is_dir()]
    if unpacked and len(unpacked) < len(packaging.packs):
        archive = next(pack.archive for pack in packaging.packs if pack not in unpacked)
        raise ResourceError(
            f"{place} holds {unpacked[0].folder}/ and the archive {archive}. Unpack {archive} there, too."
        )
    return Found(packaging, place, packed=not unpacked)


def there(place: Path, packaging: Packaging) -> dict[str, bool]:
    """Return whether a folder holds each part of a packaging. An archive counts as the folder that it holds."""
    packs = {
        f"{pack.folder}/": (place / pack.folder).is_dir() or (place / pack.archive).is_file()
        for pack in packaging.packs
    }
    return packs | {name: (place / name).is_file() for name in packaging.lists}


def facts(size: int | None, digest: str | None) -> str:
    """Return size and checksum of a file in brackets, or nothing.

    >>> facts(1_150_585_339, "md5:97ee"), facts(None, "md5:97ee"), facts(None, None)
    (' (1,150,585,339 bytes, md5 97ee)', ' (md5 97ee)', '')
    """
    known = [f"{size:,} bytes"] if size is not None else []
    known += [digest.replace(":", " ")] if digest is not None else []
    return f" ({', '.join(known)})" if known else ""
