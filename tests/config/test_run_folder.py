"""A command that fails before it writes anything leaves no folder, and what was there before stays."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

MISTAKES = {
    "missing folder": ["data=image_folder", "data.root=/nonexistent"],
    "type": ["data=digits", "loss.margin=wide"],
    "unknown option": ["data=digits", "+foo=1"],
    "combination": ["data=digits", "network.normalize=false"],
    "steps": ["data=digits", "trainer.max_steps=-1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_failed_command_leaves_no_folder(mistake: str, command: Callable[..., Ended], tmp_path: Path) -> None:
    ended = command(*MISTAKES[mistake])
    assert ended.status == 2
    assert not list((tmp_path / "outputs").rglob("*"))


def test_files_of_others_stay(command: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("kept")
    assert command(*MISTAKES["missing folder"], "hydra.run.dir=mine").status == 2
    left = {path.name for path in (tmp_path / "mine").iterdir() if path.suffix != ".log"}
    assert left == {"notes.txt", ".lock"}, "a file of the user keeps the folder, and so its lock"
