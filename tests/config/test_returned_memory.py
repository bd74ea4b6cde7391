"""Memory that a run has freed goes back to the system, although glibc is set to keep it between steps."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

MEASURED = """
from siamese_lab.config.process import keep_large_blocks
keep_large_blocks()
import os, torch
from pathlib import Path
from siamese_lab.config.process import return_free_memory
resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
blocks = [torch.ones(5_000_000) for _ in range(20)]
above = torch.ones(1_000_000)  # at the top of the heap, so that nothing below it is returned without being asked
full = resident()
del blocks
kept = resident()
return_free_memory()
print(full - kept, full - resident(), float(above.sum()))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, the C library of most Linux systems")
def test_freed_memory_is_returned_only_when_asked() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
        capture_output=True,
        timeout=100,
        check=True,
    )
    kept_back, returned, intact = map(float, ended.stdout.split())
    assert kept_back < 100e6 < 300e6 < returned, "20 tensors of 20 MB"
    assert intact == 1_000_000
