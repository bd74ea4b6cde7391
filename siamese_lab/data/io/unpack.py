"""Unpack archives of images into the cache, for sets with images that are read from files.

Only images and lists are written. The names of the members are checked by `archives`, and nothing is executed.
"""

import shutil
from pathlib import Path

from siamese_lab.data.io.archives import Bounds, check_size, read_members
from siamese_lab.data.io.cache_folder import one_at_a_time
from siamese_lab.data.io.download import describe_wrong_checksum
from siamese_lab.data.io.folder_walk import IMAGE_SUFFIXES, is_system_name
from siamese_lab.data.io.messages import announce, readable, writing_to
from siamese_lab.errors import ResourceError

BOUNDS = Bounds(content=8 << 30, member=256 << 20)
"""Stanford Online Products has 3.1 GB of content. The largest member, a list of attributes of CUB-200, has 70 MB."""
LIST_SUFFIXES = (".txt", ".mat")
LIST_DEPTH = 2
"""Largest number of parts of the name of a list; other sets than ours have further lists in deeper folders."""


def unpack(archive: Path, target: Path, digest: str | None) -> Path:
    """Return `target`, the folder with the images and lists of an archive. Unpack the archive if it is missing.

    An incomplete folder never has the name `target`. If several processes need it, one unpacks and the others wait.

    Args:
        archive: a zip or tar.
        target: a folder of the cache.
        digest: checksum of the archive, `md5:…` or `sha256:…`; None if its publishers state none.

    Raises:
        UserError: if the archive is damaged, is another one than expected, or if the folder is not writable.
    """
    if target.is_dir():
        return target
    with one_at_a_time(target, "unpacking"):
        if not target.is_dir():
            if found := check_digest(archive, digest):
                raise ResourceError(found[0])
            announce(f"Unpacking {archive} into {target}.")
            draft = target.with_name(f"{target.name}.draft")
            try:
                shutil.rmtree(draft, ignore_errors=True)
                _write_members(archive, draft)
                with writing_to(target.parent):
                    draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return target


def check_digest(archive: Path, digest: str | None) -> list[str]:
    """Return a sentence if the checksum of an archive differs from the published one; [] if there is none to compare.

    Raises:
        UserError: if the archive cannot be read.
    """
    if digest is None:
        return []
    check_size(archive, BOUNDS)
    with readable(archive):
        wrong = describe_wrong_checksum(archive, digest)
    if wrong is None:
        return []
    return [f"{archive} is not the published archive ({wrong}). Replace it, or unpack it yourself if you trust it."]


def _write_members(archive: Path, folder: Path) -> None:
    """Write the images and lists of an archive. Each file is new, so a member that comes twice is an error."""
    written = 0
    for member in read_members(archive, _is_wanted, BOUNDS):
        path = folder / member.name
        with writing_to(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                stream = path.open("xb")
            except FileExistsError as error:
                raise ResourceError(
                    f"{archive} holds {member.name!r} more than once, so it is not the original. Replace it."
                ) from error
            with stream:
                stream.write(member.content)
        written += 1
    if not written:
        raise ResourceError(f"{archive} holds no images and no lists, so it is another archive. Replace it.")


def _is_wanted(name: str) -> bool:
    parts = name.split("/")
    if any(map(is_system_name, parts)):
        return False
    lowered = name.lower()
    return lowered.endswith(IMAGE_SUFFIXES) or (lowered.endswith(LIST_SUFFIXES) and len(parts) <= LIST_DEPTH)
