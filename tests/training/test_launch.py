"""Processes that are started together end together, and their parent reports the failure.

test_distributed.py kills a process.
"""

import os
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.training import launch
from siamese_lab.training.launch import Member, Output, ProcessFailed

pytestmark = pytest.mark.slow


class CannotBePickled(Exception):  # noqa: N818
    def __init__(self, number: int, folder: Path) -> None:
        super().__init__(f"{number} in {folder}")


def part(what: str, folder: Path, console: Console, member: Member) -> None:
    """Run in each process: the second one fails as requested, while the first waits for it."""
    console.print(f"rank {member.rank} of {member.processes}")
    (folder / str(member.rank)).write_text(str(os.getpid()))
    if what == "well":
        return
    if member.rank == 0:
        time.sleep(60)
    if what == "mistake":
        raise UserError("data.classes_per_batch is odd.")
    raise CannotBePickled(7, folder)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("mistake", UserError, r"data\.classes_per_batch is odd"),
        ("unpicklable", ProcessFailed, r"CannotBePickled: 7 in "),
    ],
)
def test_the_failure_of_one_process_ends_all_and_is_raised_in_the_parent(
    what: str, error: type[BaseException], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "GRACE", 0.5)
    with pytest.raises(error, match=message) as raised:
        launch.start(part, (what, tmp_path), 2, Console(quiet=True))
    assert "in part" in str(raised.value.__cause__)  # the traceback of the other process
    assert not any(is_alive(int((tmp_path / rank).read_text())) for rank in "01")


def test_only_the_first_process_prints_into_the_log_of_a_study(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    with log.open("a") as file:
        Console(file=file).print("before")
        assert Output.of(Console(file=file, width=70)).width == 70
        thread = threading.Thread(target=launch.start, args=(part, ("well", tmp_path), 2, Console(file=file)))
        thread.start()  # a thread cannot and need not listen to signals
        thread.join()
    assert log.read_text() == "before\nrank 0 of 2\n"
