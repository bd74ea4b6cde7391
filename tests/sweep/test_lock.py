"""Two processes never train in one folder."""

import errno
from pathlib import Path

import pytest
from filelock import FileLock

from siamese_lab.errors import ResourceError
from siamese_lab.sweep.lock import LOCK, run_alone


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
