"""A full disk ends a command with a message, keeps what is whole, and the last record says how the run ended.

`python tests/runs/full_disks.py` tries five commands on five sizes each.
"""

import errno
from pathlib import Path
from typing import Any

import full_disks
import pytest
from conftest import train_here

from siamese_lab.errors import ResourceError
from siamese_lab.runs import reserve, results
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.results import Results, read_results


def record(**further: Any) -> Results:
    return Results("digits", "hard", "triplet", "conv4", 0, {"data": {"name": "digits"}}, {}, {}, None, {}, **further)


def test_a_running_record_keeps_space_until_the_last_one(tmp_path: Path) -> None:
    running = record()
    running.write(tmp_path)
    assert (tmp_path / reserve.NAME).stat().st_size >= reserve.FACTOR * (tmp_path / "results.json").stat().st_size
    assert (tmp_path / reserve.NAME).stat().st_blocks * 512 >= reserve.SMALLEST, "the space is really occupied"
    running.status = "finished"
    running.write(tmp_path)
    assert not (tmp_path / reserve.NAME).exists()


def test_the_last_record_uses_the_kept_space_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = record()
    running.write(tmp_path)
    write_text = results.write_text

    def write_if_space(path: Path, text: str) -> Path:
        if (tmp_path / reserve.NAME).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(path, text)

    monkeypatch.setattr(results, "write_text", write_if_space)
    with pytest.raises(OSError, match="No space"):
        running.write(tmp_path)
    running.fail(ResourceError("There is no space left."))
    running.write(tmp_path)
    assert (read_results(tmp_path).status, read_results(tmp_path).fault) == ("failed", "resource")


def test_the_message_names_the_checkpoint_that_is_left(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    for expected in ("on another disk.$", rf"siamese_lab\.train \"resume='{checkpoint}'\""):
        with (
            pytest.raises(ResourceError, match=rf"no space left to write to {tmp_path}.*paths\.outputs.*{expected}"),
            disk_errors(tmp_path, "paths.outputs", checkpoint),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        checkpoint.touch()


@pytest.mark.slow
@pytest.mark.skipif(not full_disks.can_mount(), reason="needs Linux, and the right to mount a disk in memory")
@pytest.mark.parametrize(("command", "size"), [("train", 2000), pytest.param("export", 100, marks=pytest.mark.nightly)])
def test_a_command_on_a_disk_that_fills_up(command: str, size: int, tmp_path: Path) -> None:
    if command == "export":
        assert train_here(*full_disks.SMALL_RUN, f"hydra.run.dir={tmp_path}/run", at=tmp_path).status == 0
    case = full_disks.run_case(command, size, tmp_path)
    assert full_disks.faults(case) == []
    assert len(case["first"]["messages"]) == 1
