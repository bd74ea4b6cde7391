"""Two processes never train in one folder."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from filelock import FileLock

from siamese_lab.errors import ResourceError
from siamese_lab.sweep.lock import LOCK, lock_sweep, locked_run, run_alone


def test_a_second_run_in_a_folder_is_refused(tmp_path: Path) -> None:
    with (
        run_alone(tmp_path),
        pytest.raises(ResourceError, match=rf"Another process is training in {tmp_path}.*hydra\.run\.dir"),
        run_alone(tmp_path),
    ):
        pass
    with run_alone(tmp_path):
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_used(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(lock: FileLock, **_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", fail)
    with run_alone(tmp_path):
        pass


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lock_that_is_no_regular_file_is_one_message(kind: str, tmp_path: Path) -> None:
    lock, precious = tmp_path / LOCK, tmp_path / "precious"
    precious.write_text("precious")
    {"link": lambda: lock.symlink_to(precious), "pipe": lambda: os.mkfifo(lock), "folder": lock.mkdir}[kind]()
    for use in (run_alone, locked_run, lambda folder: nullcontext(lock_sweep(folder))):
        with (
            pytest.raises(ResourceError, match=r"\.lock cannot be locked, because it is no regular file"),
            use(tmp_path),
        ):
            pass
    assert precious.read_text() == "precious"
