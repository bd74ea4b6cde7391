"""The errors that a user can correct, interruptions, exit statuses, and the classification of failed runs by cause."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from siamese_lab.errors.controls import escape_controls

BUG_STATUS = 1
"""Exit status after an error that the user cannot correct."""
USER_ERROR_STATUS = 2
"""Exit status after an error that the user can correct."""
INTERRUPTED_STATUS = 130
"""Exit status after Ctrl-C, as shells report it."""

MAX_MESSAGE = 4_000
"""Largest number of characters of a message to a user."""

Fault = Literal["options", "resource", "bug"]
"""The cause of a failed run: its own options or training, a resource of the machine, or a bug."""


class UserError(ValueError):
    """Raised when the user can correct the cause: an option, a file, a data set or a combination of choices.

    The message says what is wrong, which value was received, what was expected, and how to correct it. Commands print
    the message alone and exit with status 2. Every other exception is a bug and keeps its traceback.

    Messages name files and texts of others. Acting characters in them are escaped, and a long message is cut in the
    middle.
    """

    def __str__(self) -> str:
        """Return the message, which is safe to print."""
        message = escape_controls(super().__str__())
        if len(message) <= MAX_MESSAGE:
            return message
        return f"{message[: MAX_MESSAGE // 2]} … {message[-MAX_MESSAGE // 4 :]}"


class NonFiniteLossError(UserError):
    """Raised when training diverged: the loss is NaN or infinite, or embeddings are NaN, infinite or zero."""


class ResourceError(UserError):
    """Raised when a file, folder, disk, download or package is missing or unusable, whatever the options of training.

    Tuning stops at this error, because other options would not help and the same options may work later.
    """


class FullDiskError(ResourceError):
    """Raised when the disk that a command writes to is full. It ends a sweep, because every run needs space."""


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """Raised when a run was asked to stop and has stored a checkpoint.

    Args:
        number: number of the signal.
        checkpoint: path of the checkpoint to resume from.
    """

    def __init__(self, number: int, checkpoint: Path) -> None:
        super().__init__(f"Interrupted by {signal.Signals(number).name}.")
        self.number = number
        self.checkpoint = checkpoint

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how pickle rebuilds the exception, which is sent between processes."""
        return type(self), (self.number, self.checkpoint)


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process at once during imports, where Python may swallow the exception.

    Meanwhile no garbage is collected. Collections took a sixth of the time of importing PyTorch and Lightning.
    """
    former, collects = signal.getsignal(signal.SIGINT), gc.isenabled()
    gc.disable()
    if former is signal.default_int_handler:  # otherwise a caller ignores or handles the signal
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if former is signal.default_int_handler:
            signal.signal(signal.SIGINT, former)
        if collects:
            gc.enable()


def _end(*_: Any) -> None:
    os.write(sys.stderr.fileno(), b"Interrupted.\n")
    os._exit(INTERRUPTED_STATUS)


def fault_of(error: BaseException) -> Fault:
    """Return the cause that an error stands for."""
    if isinstance(error, ResourceError):
        return "resource"
    return "options" if isinstance(error, UserError) else "bug"
