"""Full disks and folders without permission, reported as an error that a user can correct."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from siamese_lab.errors import FullDiskError, ResourceError
from siamese_lab.runs.stored_paths import resume_command

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


@contextmanager
def disk_errors(
    folder: Path, option: str, checkpoint: Path | None = None, overrides: Sequence[str] = ()
) -> Iterator[None]:
    """Turn a full disk and a refused write into a ResourceError. Every other OSError passes unchanged.

    Args:
        folder: the folder that the block writes to.
        option: the option that names another folder, such as `paths.outputs`.
        checkpoint: the checkpoint from which a run can be resumed, if the block has written it.
        overrides: the command line of the run.

    Raises:
        FullDiskError: if the disk is full.
        ResourceError: if the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise FullDiskError(
                f"There is no space left to write to {folder} ({error.strerror}). Free some, or set {option} to a "
                f"folder on another disk.{_how_to_resume(checkpoint, overrides)}"
            ) from error
        if error.errno in REFUSED:
            raise ResourceError(
                f"{error.filename or folder} cannot be written ({error.strerror}). Set {option} to another folder."
            ) from error
        raise


def _how_to_resume(checkpoint: Path | None, overrides: Sequence[str]) -> str:
    if checkpoint is None or not checkpoint.is_file():
        return ""
    return f" To resume from the last complete checkpoint: {resume_command(checkpoint, overrides)}"
