"""Image tables keep images, labels and names together; the cache decodes once and never shows half a table."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch

from siamese_lab.data.image_files import list_images
from siamese_lab.data.image_table import ImageTable, cached


def a_table(count=6, classes=3):
    images_NCHW = torch.arange(count * 4, dtype=torch.uint8).reshape(count, 1, 2, 2)
    return ImageTable(images_NCHW, torch.arange(count) % classes, tuple("abcdefgh"[:classes]))


def assert_equal(left, right):
    assert torch.equal(left.images_NCHW, right.images_NCHW)
    assert torch.equal(left.labels_N, right.labels_N)
    assert left.class_names == right.class_names


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2).long(), r"expects uint8 images .* torch\.float32 \(2, 1, 4, 4\)"),
        (torch.zeros(2, 4, 4).byte(), torch.zeros(2).long(), r"uint8 images \(N, C, H, W\) .* \(2, 4, 4\) and \(2,\)"),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(3).long(), r"but got torch\.uint8 \(2, 1, 4, 4\) and \(3,\)\."),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, 2]), r"indices of the 2 class names, but run from 0 to 2\."),
        (torch.zeros(2, 1, 4, 4).byte(), torch.tensor([-1, 1]), r"of the 2 class names, but run from -1 to 1\."),
    ],
)
def test_parts_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageTable(images, labels, ("a", "b"))


def test_rows_keep_the_class_names():
    part = a_table().rows(torch.tensor([4, 0]))
    assert part.images_NCHW[:, 0, 0, 0].tolist() == [16, 0]
    assert part.labels_N.tolist() == [1, 0]
    assert part.class_names == ("a", "b", "c")
    assert len(part) == 2


def test_classes_are_renumbered_in_the_order_asked_for():
    part = a_table().classes([2, 0])
    assert part.class_names == ("c", "a")
    assert part.labels_N.tolist() == [1, 0, 1, 0]
    assert part.images_NCHW[:, 0, 0, 0].tolist() == [0, 8, 12, 20]


def test_rotations_are_classes_of_their_own():
    table = a_table()
    turned = table.with_rotations()
    assert len(turned) == 24
    assert turned.class_names[:4] == ("a (0°)", "b (0°)", "c (0°)", "a (90°)")
    assert len(set(turned.class_names)) == 12
    for place, (image, label) in enumerate(zip(turned.images_NCHW, turned.labels_N, strict=True)):
        turn, source = divmod(place, 6)
        assert np.array_equal(image[0].numpy(), np.rot90(table.images_NCHW[source, 0].numpy(), turn))
        assert turned.class_names[label] == f"{table.class_names[table.labels_N[source]]} ({90 * turn}°)"


def forbidden():
    raise AssertionError("what is stored should not be decoded again")


def test_a_table_is_decoded_once(tmp_path):
    folder = tmp_path / "not" / "there" / "yet"
    assert_equal(cached(folder, "key", a_table), a_table())
    assert_equal(cached(folder, "key", forbidden), a_table())
    other = a_table(8, 4)
    assert_equal(cached(folder, "other", lambda: other), other)
    assert sorted(path.name for path in folder.iterdir()) == ["key", "other"], "drafts should be gone"


def test_images_come_from_the_file_as_needed_and_cannot_change_it(tmp_path):
    cached(tmp_path, "key", a_table)
    table = cached(tmp_path, "key", forbidden)
    file = tmp_path / "key" / "images.npy"
    stored = file.read_bytes()
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    assert table.images_NCHW[-1, 0, 1, 1] == 255, "a memory map sees the file as it is now"
    table.images_NCHW[0] = 77
    assert file.read_bytes()[:-1] == stored[:-1]


def test_a_draft_left_half_written_is_ignored(tmp_path):
    draft = tmp_path / "key.abc123"
    draft.mkdir()
    (draft / "images.npy").write_bytes(b"half an arr")
    assert_equal(cached(tmp_path, "key", a_table), a_table())
    assert_equal(cached(tmp_path, "key", forbidden), a_table())


def test_a_table_that_cannot_be_decoded_leaves_nothing(tmp_path):
    def broken():
        raise ValueError("not an image")

    with pytest.raises(ValueError, match="not an image"):
        cached(tmp_path, "key", broken)
    assert_equal(cached(tmp_path, "key", a_table), a_table())


def test_of_two_processes_the_first_to_finish_stores(tmp_path):
    def decode_while_another_is_faster():
        cached(tmp_path, "key", a_table)
        return a_table(8, 4)

    assert_equal(cached(tmp_path, "key", decode_while_another_is_faster), a_table())
    assert [path.name for path in tmp_path.iterdir()] == ["key"], "the draft of the second should be gone"


def test_a_full_disk_is_an_error_and_leaves_no_draft(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        cached(tmp_path, "key", a_table)
    assert list(tmp_path.iterdir()) == []


def test_names_of_any_script_are_stored(tmp_path):
    table = ImageTable(torch.zeros(1, 1, 2, 2).byte(), torch.tensor([0]), ("Ōjibwe ᐊ/character 1",))
    assert_equal(cached(tmp_path, "key", lambda: table), table)
    assert json.loads((tmp_path / "key" / "classes.json").read_text(encoding="utf-8")) == list(table.class_names)


@pytest.fixture
def files(tmp_path):
    """The same three images and a text file in a folder and in an archive, written in another order."""
    folder = tmp_path / "set"
    for name in ("b/2.png", "a/1.png", "a/10.png", "a/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for name in ("b/2.png", "a/notes.txt", "a/10.png", "a/1.png"):
            stream.write(folder / name, name)
    return folder, archive


def test_a_folder_and_an_archive_list_the_same_images(files):
    for place in files:
        listed = list_images(place)
        assert listed.names == ("a/1.png", "a/10.png", "b/2.png")
        assert list(listed.contents()) == [b"a/1.png", b"a/10.png", b"b/2.png"]
        assert list_images(place).key == listed.key
        assert list_images(place, ".txt").names == ("a/notes.txt",)


def test_the_key_changes_with_the_content(files):
    folder, archive = files
    before = [list_images(place).key for place in files]
    (folder / "a/1.png").write_bytes(b"something longer")
    assert list_images(folder).key != before[0]

    with zipfile.ZipFile(archive, "w") as stream:
        for name, content in (("b/2.png", b"b/2.png"), ("a/10.png", b"a/10.png"), ("a/1.png", b"a/2.png")):
            stream.writestr(name, content)
    assert list_images(archive).key != before[1], "though names and sizes are the same"


def test_the_key_changes_with_the_names_and_not_with_the_place(files, tmp_path):
    folder, _ = files
    before = list_images(folder).key
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    assert list_images(moved).key == before
    (moved / "b/2.png").rename(moved / "b/3.png")
    assert list_images(moved).key != before


def test_what_is_not_an_archive_is_refused(tmp_path):
    place = tmp_path / "set.zip"
    place.write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"set\.zip should be a zip archive, but cannot be read as one .*Replace it\."):
        list_images(place)
