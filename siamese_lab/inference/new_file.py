"""Write a file completely or not at all, and overwrite an existing file only if the user allows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamese_lab.errors import UserError


def check_new(place: Path, force: bool, option: str = "out") -> None:
    """Raise UserError if the path is a folder, or a file that `force` does not allow to overwrite."""
    if place.is_dir():
        raise UserError(f"{place} is a folder, but {option} must be the path of a file.")
    if place.exists() and not force:
        raise UserError(f"The file {place} exists already. Set {option}=… to another file, or force=true to overwrite.")


@contextmanager
def new_file(place: Path, option: str = "out") -> Iterator[Path]:
    """Yield the path of a draft in the same folder. The draft becomes the file if the block ends without an error.

    Raises:
        UserError: if the folder cannot be written to.
    """
    draft = place.with_name(f"{place.stem}.draft{place.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror}). Set {option}=… to another file.") from error
    try:
        yield draft
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
