"""Real processes that are killed, and what they leave in a folder."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def start(work: Callable[[], object]) -> multiprocessing.Process:
    """A process of its own that does the work."""
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    return process


def kill(process: multiprocessing.Process) -> None:
    """End it with no chance to clean up."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change, to see whether anything was touched."""
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def files_of(folder: Path) -> list[str]:
    """Every file but the locks."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )
