"""The errors that a user can correct, and the classification of failed runs by their cause."""

from typing import Literal

Fault = Literal["options", "resource", "bug"]
"""The cause of a failed run: its own options or training, a resource of the machine, or a bug."""


class UserError(ValueError):
    """Raised when the user can correct the cause: an option, a file, a data set or a combination of choices.

    The message says what is wrong, which value was received, what was expected, and how to correct it. Commands print
    the message alone and exit with status 2. Every other exception is a bug and keeps its traceback.
    """


class NonFiniteLossError(UserError):
    """Raised when training diverged: the loss is NaN or infinite, or embeddings are NaN, infinite or zero."""


class ResourceError(UserError):
    """Raised when a file, folder, disk, download or package is missing or unusable, whatever the options of training.

    Tuning stops at this error, because other options would not help and the same options may work later.
    """


def fault_of(error: BaseException) -> Fault:
    """Return the cause that an error stands for."""
    if isinstance(error, ResourceError):
        return "resource"
    return "options" if isinstance(error, UserError) else "bug"
