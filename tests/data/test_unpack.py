"""Archives are unpacked completely or not at all, and nothing is written outside of the folder."""

import gzip
import stat
import tarfile
from pathlib import Path

import pytest
from hostile import ZipMember, raw_zip, tar_header, tar_member
from processes import files_of

from siamese_lab.data.io import unpack as module
from siamese_lab.data.io.archives import Bounds
from siamese_lab.data.io.unpack import unpack
from siamese_lab.errors import UserError

END = bytes(1024)


def test_images_and_lists_are_written_and_nothing_else(tmp_path: Path) -> None:
    names = (b"set/a/1.jpg", b"set/a/2.PNG", b"set/list.txt", b"set/devkit.mat")
    others = (b"set/a/deep/list.txt", b"set/run.py", b"set/a/.hidden.jpg", b"__MACOSX/a/1.jpg", b"set/Thumbs.db")
    (tmp_path / "set.zip").write_bytes(raw_zip(*(ZipMember(name, name) for name in (*names, *others))))
    target = unpack(tmp_path / "set.zip", tmp_path / "cache/set", None)
    assert files_of(target) == sorted(name.decode() for name in names)
    assert all((target / name.decode()).read_bytes() == name for name in names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (raw_zip(ZipMember(b"../1.jpg", b"1")), "points outside of the archive"),
        (raw_zip(ZipMember(b"a/1.jpg", b"1"), ZipMember(b"a/1.jpg", b"2")), r"holds 'a/1\.jpg' more than once"),
        (raw_zip(ZipMember(b"a/1.jpg", b"/etc/passwd", attributes=(stat.S_IFLNK | 0o777) << 16)), "as a plain file"),
        (raw_zip(ZipMember(b"a/run.py", b"1")), "holds no images and no lists"),
        (tar_member("/a/1.jpg", b"1") + END, "points outside of the archive"),
        (tar_header("a/1.jpg", 0, tarfile.SYMTYPE, "/etc/passwd") + END, "as a plain file"),
        (tar_member("a/1.jpg", b"1") + tar_header("a/2.jpg", 9000) + b"cut", "cannot be read"),
        (gzip.compress(tar_member("a/1.jpg", b"1") + END, mtime=0)[:-8], "cannot be read"),
        (tar_member("a/1.jpg", bytes(3000)) + END, "a member of 3,000 bytes"),
        (b"<html>", "should be a zip or tar archive"),
    ],
)
def test_a_hostile_or_damaged_archive_leaves_no_file(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOUNDS", Bounds(content=100_000, member=2_000 if b"\0" * 2_000 in content else 10_000))
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(UserError, match=message):
        unpack(tmp_path / "set.zip", tmp_path / "cache/set", None)
    assert files_of(tmp_path) == ["set.zip"]


def test_more_content_than_any_set_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOUNDS", Bounds(content=1 << 20, member=1 << 20))
    for name, content in (
        ("set.tgz", gzip.compress(b"".join(tar_member(f"a/{n}.jpg", bytes(1 << 19)) for n in range(3)) + END)),
        ("set.zip", raw_zip(*(ZipMember(b"a/%d.jpg" % n, bytes(1 << 19)) for n in range(3)))),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="or 1 MB of content"):
            unpack(tmp_path / name, tmp_path / "cache/set", None)
    assert files_of(tmp_path) == ["set.tgz", "set.zip"]


def test_a_draft_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "cache/set.draft/a").mkdir(parents=True)
    (tmp_path / "cache/set.draft/a/old.jpg").write_bytes(b"old")
    (tmp_path / "set.zip").write_bytes(raw_zip(ZipMember(b"a/1.jpg", b"1")))
    assert files_of(unpack(tmp_path / "set.zip", tmp_path / "cache/set", None)) == ["a/1.jpg"]
    assert files_of(tmp_path / "cache") == ["set/a/1.jpg"]
