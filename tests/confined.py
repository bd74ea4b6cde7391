"""Run readers of hostile files in processes with limits of time and memory."""

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from siamese_lab.errors import UserError

SECONDS = 30
"""Seconds: far more than any reader takes on a busy machine, and far less than an endless file takes."""
MEMORY = 500_000_000
"""Bytes of address space that a reader may use."""


class Outcome(NamedTuple):
    refused: bool
    message: str
    """The message if the reader refused the file, otherwise its result."""


def confined(work: Callable[[], Any]) -> Outcome:
    """Run work in a process with limits of time and memory. Return its message if it raises UserError."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_confine, args=(work, there), daemon=True)
    process.start()
    there.close()
    try:
        outcome = here.recv()
    except EOFError:
        process.join()
        raise AssertionError(f"the process was too slow or crashed: exit code {process.exitcode}") from None
    process.join()
    assert isinstance(outcome, Outcome)
    return outcome


def _confine(work: Callable[[], Any], answer: Connection) -> None:
    signal.alarm(SECONDS)
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    try:
        outcome = Outcome(False, repr(work()))
    except UserError as error:
        outcome = Outcome(True, str(error))
    except BaseException as error:
        outcome = Outcome(False, f"{type(error).__name__}: {error}")
    answer.send(outcome)
