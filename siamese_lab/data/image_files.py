"""The image files of a data set as users have them: in a zip archive, or in a folder that was unpacked from it."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class ImageFiles(NamedTuple):
    """The files of one kind under one place, sorted by name."""

    place: Path
    names: tuple[str, ...]
    """With / between folders."""
    key: str
    """Changes with the names and contents of the files (in a folder, with their sizes)."""

    def contents(self) -> Iterator[bytes]:
        """The bytes of each file, in order."""
        if self.place.is_dir():
            yield from ((self.place / name).read_bytes() for name in self.names)
        else:
            with zipfile.ZipFile(self.place) as archive:
                yield from (archive.read(name) for name in self.names)


def list_images(place: Path, suffix: str = ".png") -> ImageFiles:
    """The files ending in `suffix` in a zip archive or anywhere under a folder.

    Raises:
        ValueError: if the archive cannot be read.
    """
    if place.is_dir():
        found = sorted((path.relative_to(place).as_posix(), path.stat().st_size) for path in place.rglob(f"*{suffix}"))
    else:
        try:
            with zipfile.ZipFile(place) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename.endswith(suffix)]
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{place} should be a zip archive, but cannot be read as one ({error}). Replace it."
            ) from error
        found = sorted((entry.filename, entry.CRC) for entry in entries)
    digest = hashlib.sha256(repr(found).encode()).hexdigest()[:16]
    return ImageFiles(place, tuple(name for name, _ in found), digest)
