"""Settings of the process: large tensors keep their memory, waiting threads sleep, and the user's settings stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from siamese_lab.config import process

ROOT = Path(__file__).parents[2]
FAULTS = """
import resource, sys
from siamese_lab.config.process import keep_large_blocks
keep_large_blocks()
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    before = faults()
    for _ in range(10):
        torch.ones(2**24)  # 64 MiB
print((faults() - before) // 10)
"""
PAGES = 2**26 // 4096

only_glibc = pytest.mark.skipif(process.platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")


def faults_per_block(**variables: str) -> int:
    """Return the page faults for a block of 64 MiB that is allocated repeatedly, in a new process."""
    kept = {name: value for name, value in os.environ.items() if name not in process.MALLOC_OPTIONS}
    environment = kept | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-c", FAULTS]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(ended.stdout)


@only_glibc
@pytest.mark.slow
def test_large_blocks_are_mapped_once_in_this_process_and_in_processes_that_it_starts() -> None:
    assert faults_per_block() < 100
    variables = {name: str(value) for name, (_, value) in process.MALLOC_OPTIONS.items()}
    assert faults_per_block(**variables) < 100


@only_glibc
@pytest.mark.slow
def test_a_setting_of_the_user_stays() -> None:
    # Huge pages cause one fault per 2 MiB.
    assert faults_per_block(MALLOC_MMAP_MAX_="65536") >= PAGES // 512


def test_variables_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: pytest.fail("called mallopt"))
    for name in ("GLIBC_TUNABLES", *process.MALLOC_OPTIONS):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1")
            process.keep_large_blocks()
            assert os.environ[name] == "1"
    for name, value in (("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "5")):
        with monkeypatch.context() as patch:
            patch.delenv("GOMP_SPINCOUNT", raising=False)
            patch.setenv(name, value)
            process.let_waiting_threads_sleep()
            assert os.environ[name] == value
            assert os.environ.get("GOMP_SPINCOUNT", "5") == "5"


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in process.MALLOC_OPTIONS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(process.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: pytest.fail("called mallopt"))
    process.keep_large_blocks()
    assert not process.MALLOC_OPTIONS.keys() & os.environ.keys()
