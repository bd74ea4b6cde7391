"""A file that is written whole or not at all, and never over another one unless that is wished."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamese_lab.errors import UserError


def check_new(place: Path, force: bool, option: str = "out") -> None:
    """Raise UserError where a file lies there already and `force` does not allow to write over it."""
    if place.is_dir():
        raise UserError(f"{place} is a folder, but {option} names the file to write.")
    if place.exists() and not force:
        raise UserError(f"There is a file {place} already. Name another ({option}=…), or overwrite it: force=true.")


@contextmanager
def new_file(place: Path, option: str = "out") -> Iterator[Path]:
    """Where to write to: a draft beside the place, which becomes the file when the block ends well.

    Raises:
        UserError: if nothing can be written there.
    """
    draft = place.with_name(f"{place.stem}.draft{place.suffix}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror}). Name another file: {option}=PATH.") from error
    try:
        yield draft
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
