"""The Tab key completes options in real shells, for programs and for `python -m`. A shell that is missing skips."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = {
    "siamese-lab-train data=omn": "data=omniglot",
    "python -m siamese_lab.train sampler=dist": "sampler=distance_weighted",
}
pytestmark = pytest.mark.slow


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put `siamese-lab-train` and `python` at the beginning of PATH, and return an empty folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "siamese-lab-train"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom siamese_lab.__main__ import train\nsys.exit(train())\n")
    program.chmod(0o755)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path / "empty"


def path_of(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def said(*arguments: str) -> str:
    ended = subprocess.run(arguments, text=True, capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_bash_completes_python_m(programs: Path) -> None:
    script = """
        eval "$(python -m siamese_lab.train --shell-completion install=bash)"
        for COMP_LINE in "python -m siamese_lab.train sampler=dist" "python -m pytest sampler=dist" \\
            "python -m siamese_lab.evaluate checkpoint=x dist"; do
            siamese_lab_completion
            echo "${COMPREPLY[@]}"
        done
        complete -p python
    """
    *found, installed = said(path_of("bash"), "--norc", "-c", script).splitlines()
    assert found == ["sampler=distance_weighted", "", "distance="]
    assert installed.endswith("-F siamese_lab_completion python")


@pytest.mark.parametrize("line", LINES)
def test_fish_completes(line: str, programs: Path) -> None:
    install = "--shell-completion install=fish | source"
    script = f"siamese-lab-train {install}; python -m siamese_lab.train {install}; complete -C '{line}'"
    assert said(path_of("fish"), "--no-config", "-c", script).split() == [LINES[line]]


def read_until(terminal: int, text: bytes, seconds: float = 60) -> bytes:
    """Read from a terminal until a text appears."""
    shown, end = b"", time.monotonic() + seconds
    while text not in shown:
        assert time.monotonic() < end, f"{text!r} is not in {shown!r}"
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096)
    return shown


@pytest.mark.parametrize("line", LINES)
def test_zsh_completes(line: str, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of("zsh")
    monkeypatch.setenv("PS1", "READY> ")
    process, terminal = pty.fork()
    if process == 0:
        os.execv(path, ["zsh", "-f", "-i"])
    try:
        read_until(terminal, b"READY> ")
        os.write(terminal, b'eval "$(siamese-lab-train --shell-completion install=zsh)"; echo in""stalled\n')
        read_until(terminal, b"installed\r\n")
        os.write(terminal, f"{line}\t".encode())
        read_until(terminal, LINES[line].encode())
    finally:
        os.close(terminal)  # ends the shell
        os.waitpid(process, 0)
