"""Image tables keep images, labels and names together; the cache decodes once and never returns a partial table."""

import errno
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import files_of, kill, start, wait_until

from siamese_lab.data.tables.image_table import ImageTable, cached, check_stored

STORED = ["key/images.npy", "key/labels.npy", "key/table.json"]


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
def test_inconsistent_parts_are_refused(images, labels, message):
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


def test_tables_of_some_rows_share_the_pixels_and_copy_only_fetched_rows():
    table = a_table()
    part = table.classes([2, 0]).rows(torch.tensor([3, 2, 2]))
    assert part.stored_SCHW is table.stored_SCHW
    assert part.images_NCHW[:, 0, 0, 0].tolist() == [20, 12, 12]
    assert part.labels_N.tolist() == [0, 1, 1]
    ((tag, images_BCHW),) = part.fetch([("tag", torch.tensor([2, 0]))])
    assert (tag, images_BCHW[:, 0, 0, 0].tolist()) == ("tag", [12, 20])
    with pytest.raises(ValueError, match=r"\(2, 1, 2, 2\) and \(3,\)"):
        ImageTable(table.stored_SCHW, torch.zeros(3).long(), ("a",), torch.tensor([0, 1]))


def test_rotations_are_separate_classes():
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
    raise AssertionError("a stored table should not be decoded again")


def test_a_table_is_decoded_once(tmp_path):
    folder = tmp_path / "not" / "there" / "yet"
    assert_equal(cached(folder, "key", a_table), a_table())
    assert_equal(cached(folder, "key", forbidden), a_table())
    other = a_table(8, 4)
    assert_equal(cached(folder, "other", lambda: other), other)
    assert files_of(folder) == [*STORED, *(file.replace("key", "other") for file in STORED)], "no temporary files"


def test_images_are_memory_mapped_read_only(tmp_path):
    cached(tmp_path, "key", a_table)
    table = cached(tmp_path, "key", forbidden)
    file = tmp_path / "key" / "images.npy"
    stored = file.read_bytes()
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    assert table.images_NCHW[-1, 0, 1, 1] == 255, "a memory map shows the current content of the file"
    table.images_NCHW[0] = 77
    assert file.read_bytes()[:-1] == stored[:-1]


def damage_cut(place):
    with (place / "images.npy").open("r+b") as stream:
        stream.truncate(100)


def damage_longer(place):
    with (place / "images.npy").open("ab") as stream:
        stream.write(b"more")


def damage_no_manifest(place):
    (place / "table.json").unlink()


def damage_manifest(place):
    (place / "table.json").write_text('{"format": 2, "key"', encoding="utf-8")


def damage_other_key(place):
    manifest = json.loads((place / "table.json").read_text(encoding="utf-8"))
    (place / "table.json").write_text(json.dumps(manifest | {"key": "another"}), encoding="utf-8")


def damage_labels(place):
    np.save(place / "labels.npy", np.array([2, 1, 0, 0, 1, 2]))


def damage_other_folder(place):
    shutil.rmtree(place)
    place.mkdir()
    (place / "images.npy").write_bytes(b"another program's")


def damage_file(place):
    shutil.rmtree(place)
    place.write_text("another program's", encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut,
        damage_longer,
        damage_no_manifest,
        damage_manifest,
        damage_other_key,
        damage_labels,
        damage_other_folder,
        damage_file,
    ],
)
def test_an_incomplete_or_foreign_cache_is_decoded_again(tmp_path, damage, capsys):
    cached(tmp_path, "key", a_table)
    damage(tmp_path / "key")
    assert_equal(cached(tmp_path, "key", a_table), a_table())
    assert f"{tmp_path}/key is not a complete table" in capsys.readouterr().err
    assert_equal(cached(tmp_path, "key", forbidden), a_table())
    assert files_of(tmp_path) == STORED


def test_check_stored_finds_faults_that_a_start_does_not_check(tmp_path):
    place = tmp_path / "key"
    assert check_stored(place) == [], "a missing table has no faults"
    cached(tmp_path, "key", a_table)
    assert check_stored(place) == []
    with (place / "images.npy").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    assert check_stored(place) == [
        f"{place}: the SHA-256 of images.npy differs from the manifest. Delete it; it will be decoded again."
    ]
    damage_cut(place)
    assert "file sizes differ from the manifest" in check_stored(place)[0]


def test_a_table_that_cannot_be_decoded_leaves_no_files(tmp_path):
    def broken():
        raise ValueError("not an image")

    with pytest.raises(ValueError, match="not an image"):
        cached(tmp_path, "key", broken)
    assert files_of(tmp_path) == []
    assert_equal(cached(tmp_path, "key", a_table), a_table())


@pytest.mark.slow
def test_two_processes_at_once_decode_once_and_leave_one_valid_cache(tmp_path):
    cache, decoded = tmp_path / "cache", tmp_path / "decoded"
    together = multiprocessing.get_context("fork").Barrier(4)

    def decode():
        with decoded.open("a", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return a_table()

    def prepare():
        together.wait()
        assert_equal(cached(cache, "key", decode), a_table())

    processes = [start(prepare) for _ in range(4)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(decoded.read_text(encoding="utf-8").splitlines()) == 1
    assert_equal(cached(cache, "key", forbidden), a_table())
    assert files_of(cache) == STORED


def a_large_table():
    images_NCHW = torch.arange(40_000_000, dtype=torch.int32).to(torch.uint8).reshape(-1, 1, 100, 100)
    return ImageTable(images_NCHW, torch.arange(len(images_NCHW)) % 7, tuple("abcdefg"))


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [0, 10, 20, 40, 60, 80, 120, 160])
def test_a_process_killed_while_it_stores_leaves_no_usable_table(tmp_path, milliseconds):
    """The process is killed while it decodes, writes a file or the manifest, or after the renaming."""
    table = a_large_table()
    begun = tmp_path / "begun"

    def decode():
        begun.touch()
        return table

    process = start(lambda: cached(tmp_path / "cache", "key", decode))
    wait_until(begun.exists)
    time.sleep(milliseconds / 1000)
    kill(process)
    assert_equal(cached(tmp_path / "cache", "key", lambda: table), table)
    assert_equal(cached(tmp_path / "cache", "key", forbidden), table)
    assert files_of(tmp_path / "cache") == STORED
    assert check_stored(tmp_path / "cache" / "key") == []


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_a_file(tmp_path, monkeypatch):
    """The process decodes the first half of the images, then waits forever."""
    half = tmp_path / "half"

    def save_half(file, array):
        with Path(file).open("wb") as stream:
            np.lib.format.write_array(stream, array)
            stream.truncate(stream.tell() // 2)
            stream.flush()
            half.touch()
            time.sleep(60)

    def prepare():
        monkeypatch.setattr(np, "save", save_half)
        cached(tmp_path / "cache", "key", a_table)

    process = start(prepare)
    wait_until(half.exists)
    kill(process)
    assert files_of(tmp_path / "cache") == ["key.draft/images.npy"]
    assert_equal(cached(tmp_path / "cache", "key", a_table), a_table())
    assert files_of(tmp_path / "cache") == STORED


def test_a_full_disk_is_one_sentence_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ValueError, match=rf"^There is no space left to write to {tmp_path}\. .*set paths\.c"):
        cached(tmp_path, "key", a_table)
    assert files_of(tmp_path) == []


def as_nobody(work):
    """Do the work without root rights, because root may write everywhere."""

    def prepare():
        if os.getuid() == 0:
            os.setuid(65534)
        with pytest.raises(ValueError, match=r"but cannot write there \(Permission denied\)\. Set paths\.cache to a"):
            work()

    process = start(prepare)
    process.join()
    return process.exitcode


def test_a_cache_without_write_permission_is_one_sentence_unless_it_holds_the_table():
    with tempfile.TemporaryDirectory() as name:  # unlike pytest's own folder, any user can enter its parent
        folder = Path(name) / "cache"
        cached(folder, "key", a_table)
        folder.chmod(0o555)
        Path(name).chmod(0o755)
        assert as_nobody(lambda: cached(folder, "other", a_table)) == 0
        reader = start(
            lambda: (os.getuid() or os.setuid(65534), assert_equal(cached(folder, "key", forbidden), a_table()))
        )
        reader.join()
        assert reader.exitcode == 0
        folder.chmod(0o755)


def test_names_of_any_script_are_stored(tmp_path):
    table = ImageTable(torch.zeros(1, 1, 2, 2).byte(), torch.tensor([0]), ("Ōjibwe ᐊ/character 1",))
    assert_equal(cached(tmp_path, "key", lambda: table), table)
