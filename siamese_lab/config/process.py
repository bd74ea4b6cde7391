"""Settings of the process that make training faster, applied before PyTorch is imported, its memory, and its parent."""

import ctypes
import gc
import os
import platform
import signal
import threading
import time
from collections.abc import Callable

SPIN_COUNT = "3000"
MALLOC_OPTIONS = {
    "MALLOC_MMAP_MAX_": (-4, 0),
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 64 * 2**20),
}
"""Environment variables of glibc, with the number of the same option in `mallopt` and the value that the lab sets."""


def let_waiting_threads_sleep() -> None:
    """Let threads of OpenMP sleep soon while they wait for each other.

    By default GNU's OpenMP spins 300,000 times, and one busy process on the same cores slows training. Sleeping at once
    (`OMP_WAIT_POLICY=PASSIVE`) would slow training on free cores. A variable that the user has set stays. oneDNN
    spins in some gradients, which no variable changes: see `networks/side_by_side.py`.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def keep_large_blocks() -> None:
    """Let glibc keep the memory of large tensors, instead of returning it to the system after each use.

    Otherwise the system maps and clears the memory of most activations again in every training step. Peak memory rises
    by up to a quarter. The variables apply to processes that this process starts, and `mallopt` to this process. If the
    user has set one of the variables or GLIBC_TUNABLES, or on a system without glibc, nothing changes:
    `MALLOC_MMAP_MAX_=65536`, glibc's default, switches this off.
    """
    if {*MALLOC_OPTIONS, "GLIBC_TUNABLES"} & os.environ.keys() or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for variable, (option, value) in MALLOC_OPTIONS.items():
        if mallopt(option, value):
            os.environ[variable] = str(value)


def return_free_memory() -> None:
    """Collect garbage, and let glibc return its free blocks to the system. On other systems, only collect garbage.

    glibc keeps the blocks of large tensors for the next step, and joblib replaces a worker process after its memory
    has grown by 300 MB since its first run. The new process would import PyTorch again.
    """
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


ORPHAN_GRACE = 20.0
"""Seconds that a process gets to stop with a checkpoint after its parent process has died."""
WATCH = "end with the parent"
"""Name of the thread that waits for the death of the parent process."""


def end_with_parent(wait: Callable[[], object]) -> None:
    """Stop this process with a checkpoint when its parent process has died. Later calls change nothing.

    A worker of joblib otherwise waits for its dead parent: for a further run five minutes, and without end if a result
    is larger than the buffer of the pipe.

    Args:
        wait: returns when the parent process has died.
    """
    if all(thread.name != WATCH for thread in threading.enumerate()):
        threading.Thread(target=_stop_after, args=(wait,), name=WATCH, daemon=True).start()


def _stop_after(wait: Callable[[], object]) -> None:
    wait()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE)
    os._exit(1)


def wait_for_another_parent(parent: int) -> None:
    """Return when the system has given this process another parent, because its parent died; never on Windows.

    Args:
        parent: number of the parent process, which may have died already.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
