"""A walk of a folder ignores hidden files, visits each folder once, and records everything that it skips."""

import os
from pathlib import Path

import pytest

from siamese_lab.data.io.folder_walk import IMAGE_SUFFIXES, Reason, describe_left_out, walk_folder
from siamese_lab.errors import UserError

ROOT_READS_EVERYTHING = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() == 0, reason="root may read folders without permission"
)


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))


def found(root: Path) -> list[str]:
    return [file.name for file in walk_folder(root).files]


def test_files_are_sorted_folder_by_folder(tmp_path: Path) -> None:
    write(tmp_path, "b/2.png", "a/1.JPG", "a/10.jpg", "a-b/1.tif", "c.png")
    content = walk_folder(tmp_path)
    assert [file.name for file in content.files] == ["a/1.JPG", "a/10.jpg", "a-b/1.tif", "b/2.png", "c.png"]
    assert content.folders == ("a", "a-b", "b")
    assert content.left_out == {}
    assert [file.size for file in content.files] == [7, 8, 9, 7, 5]
    assert describe_left_out(tmp_path, content.left_out) == ""


HIDDEN = (
    ".ipynb_checkpoints", "@eaDir", ".Trash-1000", "$RECYCLE.BIN", "$Recycle.Bin", "__MACOSX",
    "System Volume Information",
    "lost+found", ".git", "__pycache__", "#recycle", "@Recycle", "Thumbs.db", ".DS_Store", "desktop.ini", "._1.png",
)  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_and_system_names_are_ignored_anywhere_and_counted(name: str, tmp_path: Path) -> None:
    write(tmp_path, "a/1.png")
    for parent in (tmp_path, tmp_path / "a"):
        if "." in name[1:] and name != "$RECYCLE.BIN" and name != "$Recycle.Bin":
            write(parent, name)
        else:
            write(parent, f"{name}/1.png")
    content = walk_folder(tmp_path)
    assert [file.name for file in content.files] == ["a/1.png"]
    assert content.folders == ("a",)
    assert sorted(content.left_out[Reason.HIDDEN]) == sorted([name, f"a/{name}"])


def test_a_hidden_folder_that_is_the_root_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".cache/photos", "a/1.png", "@home/2.png", "a..b/3.png")
    assert found(tmp_path / ".cache/photos") == ["@home/2.png", "a/1.png", "a..b/3.png"]


def test_each_folder_is_visited_once_despite_links(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root, "a/1.png", "b/1.png", "b/deep/2.png")
    write(tmp_path, "elsewhere/c/3.png", "elsewhere/d/4.png", "secret.png", "sibling/5.png")
    (root / "a/up").symlink_to("..")
    (root / "all").symlink_to(".")
    (root / "b/deep/up").symlink_to(root)
    (root / "around").symlink_to(tmp_path)
    (root / "a_again").symlink_to("b/deep")
    (root / "c").symlink_to(tmp_path / "elsewhere/c")
    (root / "c_too").symlink_to(tmp_path / "elsewhere/c")
    (root / "d_and_c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/d/up").symlink_to("..")
    content = walk_folder(root)
    assert [file.name for file in content.files] == ["a/1.png", "b/1.png", "b/deep/2.png", "c/3.png", "d_and_c/d/4.png"]
    assert content.left_out == {
        Reason.LINKED: ("a/up", "a_again", "all", "around", "b/deep/up", "c_too", "d_and_c/c", "d_and_c/d/up")
    }


def test_a_link_to_a_parent_of_its_own_target_adds_no_files(tmp_path: Path) -> None:
    write(tmp_path, "set/a/1.png", "store/class/2.png", "store/other/3.png")
    (tmp_path / "set/b").symlink_to(tmp_path / "store/class")
    (tmp_path / "store/class/up").symlink_to("..")
    assert found(tmp_path / "set") == ["a/1.png", "b/2.png"]


def test_links_to_files_are_files_and_broken_links_are_found_or_counted(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png")
    (tmp_path / "a/2.png").symlink_to("1.png")
    (tmp_path / "a/3.png").symlink_to("nowhere")
    (tmp_path / "a/itself").symlink_to("itself")
    (tmp_path / "b").symlink_to("nowhere")
    content = walk_folder(tmp_path)
    assert [(file.name, file.size) for file in content.files] == [("a/1.png", 7), ("a/2.png", 7), ("a/3.png", -1)]
    assert content.left_out == {Reason.BROKEN: ("a/itself", "b")}


def test_other_types_are_counted_with_a_suggestion(tmp_path: Path) -> None:
    write(tmp_path, *(f"phone/{number}.heic" for number in range(9)), "a/1.jpe", "a/2.avif", "a/notes.TXT", "a/README")
    content = walk_folder(tmp_path)
    assert [file.name for file in content.files] == ["a/1.jpe", "a/2.avif"]
    line = describe_left_out(tmp_path, content.left_out)
    assert line.startswith(f"Left out of {tmp_path}: 11 files of other types (.heic: 9, no suffix: 1, .txt: 1). ")
    assert ".jpg, .jpeg, .png" in line and "\n" not in line


def test_every_reason_is_in_the_one_line(tmp_path: Path) -> None:
    line = describe_left_out(tmp_path, dict.fromkeys(Reason, ("a", "b", "c", "d", "e")))
    assert "\n" not in line
    for reason in Reason:
        assert f"5 {reason.several} (" in line and reason.cure in line
    assert "(a, b, c, 2 more)" in line


@ROOT_READS_EVERYTHING
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_folder_that_cannot_be_read_is_named(mode: int, tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/c/1.png")
    (tmp_path / "b/c").chmod(mode)
    try:
        with pytest.raises(UserError, match=r"b/c cannot be read \(Permission denied\)\. Allow it \(chmod u\+rx"):
            walk_folder(tmp_path)
    finally:
        (tmp_path / "b/c").chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_an_error_for_every_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a/1.png", "b/1.png", ".Trash-1000/1.png")
    scandir = os.scandir

    def refuse(path: str) -> "os._ScandirIterator[str]":
        if Path(path).name in ("b", ".Trash-1000"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=rf"The folder {tmp_path}/b cannot be read \(Permission denied\)"):
        walk_folder(tmp_path)


def test_names_that_are_not_text_are_escaped_and_their_files_found(tmp_path: Path) -> None:
    from siamese_lab.data.io.image_files import list_images

    for name in (b"caf\xe9/1\xff.png", b"caf\xe9/line\nbreak.png", b"cafe/\xc3\xa9.png", b"cafe/\\xe9.png"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name)
    files = list_images(tmp_path, IMAGE_SUFFIXES)
    assert files.names == ("cafe/\\xe9.png", "cafe/é.png", "caf\\xe9/1\\xff.png", "caf\\xe9/line\\x0abreak.png")
    "".join(files.names).encode("utf-8")
    assert list(files.contents()) == [
        b"cafe/\\xe9.png", b"cafe/\xc3\xa9.png", b"caf\xe9/1\xff.png", b"caf\xe9/line\nbreak.png",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [("a\\xe9.png", "a\udce9.png"), ("a\\xe9/1.png", "a\udce9/2.png")])
def test_names_that_become_equal_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    write(tmp_path, *names)
    with pytest.raises(UserError, match=r"Two files or folders in .* are both called a\\xe9.* Rename one"):
        walk_folder(tmp_path)
