"""Read zip and tar archives of others: within stated bounds, and to the end, where compressed files keep a checksum.

This module extracts nothing. Names of members are checked before they are yielded.
"""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

from siamese_lab.data.io.messages import readable
from siamese_lab.errors import ResourceError

LARGEST_MEMBER = 64 << 20
"""Largest size of a member of an archive that is read in place, in bytes. The largest known one has less than 1 MB."""
LARGEST_CONTENT = 1 << 30
"""Largest content of an archive that is read in place, in bytes. LFW, the largest one, has less than 300 MB."""
MOST_MEMBERS = 200_000
"""Largest number of members. Stanford Online Products, the known data set with the most files, has 120,100."""
BLOCK = 1 << 16
"""Bytes that are decompressed at once."""
REPLACE = "Replace it with the original."
UNPACKERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
}
"""Compression formats of a tar, by their first bytes."""


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    content: bytes


class Bounds(NamedTuple):
    """The largest archive that is read."""

    content: int
    """Bytes of all members together."""
    member: int
    """Bytes of one member, whether it is chosen or not."""

    @classmethod
    def usual(cls) -> "Bounds":
        """Return the bounds of archives that are read in place."""
        return cls(LARGEST_CONTENT, LARGEST_MEMBER)


def check_size(path: Path, bounds: Bounds | None = None) -> None:
    """Raise UserError if a file is larger than its bounds, by default the usual ones. Reading it would take hours."""
    with readable(path):
        _check_content(path, 0, path.stat().st_size, bounds or Bounds.usual())


def member_names(path: Path, chosen: Callable[[str], bool]) -> list[str]:
    """Return the names of the chosen members. A tar is read to its end, so that its checksum is verified.

    Args:
        path: the archive.
        chosen: returns whether a name is wanted. All other members are ignored, unless they point outside.

    Raises:
        UserError: if the archive is damaged, has members that point outside of it, or is larger than any data set.
    """
    check_size(path)
    with readable(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [member.filename for member in _members_of_zip(path, archive, chosen, Bounds.usual())]
        else:
            names = [name for name, _ in _members_of_tar(path, chosen, Bounds.usual())]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ResourceError(f"{path} holds {repeated[0]!r} more than once, so it is not the original. {REPLACE}")
    return names


def read_members(path: Path, chosen: Callable[[str], bool], bounds: Bounds | None = None) -> Iterator[Member]:
    """Yield the chosen members in the order of the archive. A tar is read to its end after the last member.

    Call `member_names` before, which checks the whole archive, if members are used before the last one is read.

    Args:
        path: the archive.
        chosen: returns whether a name is wanted.
        bounds: the largest archive that is read; None for the usual bounds.

    Raises:
        UserError: if a member cannot be read.
    """
    bounds = bounds or Bounds.usual()
    with readable(path):
        is_zip = zipfile.is_zipfile(path)
    if not is_zip:
        with readable(path):
            yield from (Member(name, stream.read()) for name, stream in _members_of_tar(path, chosen, bounds))
        return
    with readable(path), zipfile.ZipFile(path) as archive:
        for member in _members_of_zip(path, archive, chosen, bounds):
            yield Member(member.filename, _read_zipped(archive, member))


def _members_of_zip(
    path: Path, archive: zipfile.ZipFile, chosen: Callable[[str], bool], bounds: Bounds
) -> Iterator[zipfile.ZipInfo]:
    members = archive.infolist()
    _check_content(path, len(members), sum(member.file_size for member in members), bounds)
    for member in members:
        _refuse_outside(path, member.filename)
        if not chosen(member.filename):
            continue
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        _check_member(path, member.filename, member.file_size, not is_link, bounds)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others do not bound their output
            raise ResourceError(
                f"{path} holds {member.filename!r} in a compression other than deflate, so it is not the original. "
                f"{REPLACE}"
            )
        yield member


def _read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the content of a member. Never more than the size in the directory is decompressed."""
    with archive.open(member) as stream:
        content = stream.read(member.file_size)
    if len(content) != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename!r} has {len(content)} bytes, not {member.file_size}")
    return content


def _members_of_tar(path: Path, chosen: Callable[[str], bool], bounds: Bounds) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name of each chosen member and the stream of its content, which is valid until the next member."""
    header = type("_BoundedHeader", (_CheckedHeader,), {"largest": bounds.member})
    with _unpack(path) as unpacked:
        content = _BoundedReader(path, unpacked, bounds)
        with tarfile.open(fileobj=content, mode="r|", bufsize=BLOCK, tarinfo=header) as archive:  # type: ignore[call-overload]
            for number, member in enumerate(archive, start=1):
                _check_content(path, number, 0, bounds)
                _refuse_outside(path, member.name)
                if not chosen(member.name):
                    continue
                stream = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                _check_member(path, member.name, member.size, stream is not None, bounds)
                assert stream is not None
                yield member.name, stream
        while content.read(BLOCK):
            pass  # the checksum of a compressed file is at its end


def _unpack(path: Path) -> IO[bytes]:
    """Open a tar. What is read from it is decompressed."""
    with path.open("rb") as file:
        start = file.read(max(map(len, UNPACKERS)))
    unpacker = next((each for magic, each in UNPACKERS.items() if start.startswith(magic)), None)
    stream: IO[bytes] = path.open("rb") if unpacker is None else unpacker(path)
    return stream


class _BoundedReader:
    """Reads a stream, and raises UserError beyond the bounds."""

    def __init__(self, path: Path, stream: IO[bytes], bounds: Bounds) -> None:
        self.path = path
        self.stream = stream
        self.bounds = bounds
        self.total = 0

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.total += len(content)
        _check_content(self.path, 0, self.total, self.bounds)
        return content


class _CheckedHeader(tarfile.TarInfo):
    """A header of a tar. Python's own class takes a damaged header, and a missing end, for the end of the archive."""

    largest: ClassVar[int]
    """Largest size of a member in bytes."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_CheckedHeader":
        """Read a header.

        Raises:
            tarfile.ReadError: if the header is damaged, or announces more than any member of a data set has.
        """
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the end of the archive
            raise tarfile.ReadError("it ends too early" if not buf else str(error)) from error
        if not 0 <= header.size <= cls.largest:
            raise tarfile.ReadError(f"a member of {header.size:,} bytes")
        return header


def _check_content(path: Path, members: int, size: int, bounds: Bounds) -> None:
    """Raise UserError if an archive has more members or more content than any data set."""
    if members > MOST_MEMBERS or size > bounds.content:
        raise ResourceError(
            f"{path} has more than {MOST_MEMBERS:,} members or {bounds.content >> 20:,} MB of content, and so is "
            f"another archive. {REPLACE}"
        )


def _check_member(path: Path, name: str, size: int, is_plain: bool, bounds: Bounds) -> None:
    """Raise UserError if a member is no plain file, is too large, or has a name that cannot be printed."""
    if not name.isprintable():
        raise ResourceError(f"{path} has a member {name!r} that no original has. {REPLACE}")
    if not is_plain:
        raise ResourceError(
            f"{path} should hold {name} as a plain file, but holds a link or another kind of member. "
            "Replace the archive with the original."
        )
    if size > bounds.member:
        raise ResourceError(
            f"{path} holds {name} with {size:,} bytes, but at most {bounds.member:,} are expected. {REPLACE}"
        )


def _refuse_outside(path: Path, name: str) -> None:
    """Raise UserError if a name is absolute, on any system, or has a part `..`."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or plain[1:2] == ":" or ".." in plain.split("/"):
        raise ResourceError(
            f"{path} has a member {name!r} that points outside of the archive, so it is not the original. {REPLACE}"
        )
