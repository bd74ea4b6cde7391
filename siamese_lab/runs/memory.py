"""Return memory that is no longer used to the system, between the runs of a sweep."""

import ctypes
import gc
import platform


def return_free_memory() -> None:
    """Collect garbage, and let glibc return its free blocks to the system. On other systems, only collect garbage.

    glibc keeps the blocks of large tensors for the next step, and joblib replaces a worker process whose memory has
    grown by 300 MB since its first run. The new process would import PyTorch again.
    """
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
