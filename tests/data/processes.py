"""Start and kill real processes, and list the files that they leave behind."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def start(work: Callable[[], object]) -> multiprocessing.Process:
    """Start a process that does the work."""
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    return process


def kill(process: multiprocessing.Process) -> None:
    """Kill the process, so that it cannot clean up."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.005)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every file with its size and modification time, to detect changes."""
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def files_of(folder: Path) -> list[str]:
    """Return every file except the locks."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )
