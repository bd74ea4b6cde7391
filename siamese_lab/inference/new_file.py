"""Write a file completely or not at all, and overwrite an existing file only if the user allows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamese_lab.errors import UserError
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.files import whole_file


def check_new(path: Path, force: bool, option: str = "out") -> None:
    """Raise UserError if the path is a folder, or a file that `force` does not allow to overwrite."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, but {option} must be the path of a file.")
    if path.exists() and not force:
        raise UserError(f"The file {path} exists already. Set {option}=… to another file, or force=true to overwrite.")


@contextmanager
def new_file(path: Path, option: str = "out") -> Iterator[Path]:
    """Yield the path of a draft, as `whole_file` does, and explain what keeps the file from being written.

    Raises:
        UserError: if the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(path, option, error) from error
    with disk_errors(path.parent, option), whole_file(path) as draft:
        try:
            draft.touch()
        except OSError as error:
            raise _not_written(path, option, error) from error
        yield draft


def _not_written(path: Path, option: str, error: OSError) -> UserError:
    return UserError(f"{path} cannot be written ({error.strerror}). Set {option}=… to another file.")
