"""A file is replaced only by a complete one."""

import errno
import os
from pathlib import Path

import pytest

from siamese_lab.runs import reserve
from siamese_lab.runs.files import delete_drafts, is_draft, whole_file, write_json, write_text


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = write_text(tmp_path / "table.csv", "old")
    with pytest.raises(RuntimeError), whole_file(path) as draft:
        assert draft.parent == tmp_path and draft.suffix == ".csv" and is_draft(draft)
        draft.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_draft_that_cannot_be_flushed_does_not_replace_the_file(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_json(tmp_path / "results.json", {"a": 1})

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_the_draft_is_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("flush"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda self, path: (order.append("rename"), replace(self, path))[1])
    write_text(tmp_path / "a.txt", "whole")
    assert order == ["flush", "rename", "flush"], "the last one is the folder's"


def test_only_drafts_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    mine = write_text(tmp_path / "checkpoints" / "notes.draft.md", "mine")
    with whole_file(tmp_path / "checkpoints" / "last.ckpt") as draft:
        draft.write_text("half")
        delete_drafts(tmp_path)
        assert not draft.exists()
        draft.touch()
    assert mine.exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_the_reserve_is_kept_in_a_new_file(kind: str, tmp_path: Path) -> None:
    place, precious = tmp_path / reserve.NAME, tmp_path / "precious"
    precious.write_text("precious")
    {"link": lambda: place.symlink_to(precious), "pipe": lambda: os.mkfifo(place)}[kind]()
    reserve.keep(tmp_path, 10)
    assert place.is_file() and not place.is_symlink() and place.stat().st_size == reserve.SMALLEST
    assert precious.read_text() == "precious"
