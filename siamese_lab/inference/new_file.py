"""Write a file completely or not at all, and overwrite an existing file only if the user allows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamese_lab.errors import UserError


def check_new(path: Path, force: bool, option: str = "out") -> None:
    """Raise UserError if the path is a folder, or a file that `force` does not allow to overwrite."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, but {option} must be the path of a file.")
    if path.exists() and not force:
        raise UserError(f"The file {path} exists already. Set {option}=… to another file, or force=true to overwrite.")


@contextmanager
def new_file(path: Path, option: str = "out") -> Iterator[Path]:
    """Yield the path of a draft in the same folder. The draft becomes the file if the block ends without an error.

    Raises:
        UserError: if the folder cannot be written to.
    """
    draft = path.with_name(f"{path.stem}.draft{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}). Set {option}=… to another file.") from error
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
