"""Folders, zips and tars give equal lists and contents of image files, and messages name damaged files."""

import io
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from siamese_lab.data.io.decode import decode, unreadable
from siamese_lab.data.io.image_files import list_images

NAMES = ("b/2.png", "a/1.PNG", "a/10.png", "a-b/1.png")
SORTED = ("a/1.PNG", "a/10.png", "a-b/1.png", "b/2.png")
HIDDEN = ("a/notes.txt", "__MACOSX/a/1.png", "a/._1.png")


@pytest.fixture
def places(tmp_path):
    """Write equal images into a folder, a zip and tars, in random order, among other files."""
    folder = tmp_path / "set"
    for name in (*NAMES, *HIDDEN):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in (*NAMES, *HIDDEN):
            archive.write(folder / name, name)
    for suffix in ("tgz", "tar.gz", "tar", "tar.xz"):
        with tarfile.open(
            tmp_path / f"set.{suffix}", f"w:{ {'tgz': 'gz', 'tar': ''}.get(suffix, suffix[4:]) }"
        ) as archive:
            for name in (*NAMES, *HIDDEN):
                archive.add(folder / name, name)
    return tmp_path


PLACES = ("set", "set.zip", "set.tgz", "set.tar.gz", "set.tar", "set.tar.xz")


@pytest.mark.parametrize("place", PLACES)
def test_every_packaging_gives_the_same_files_in_the_same_order(places, place):
    listed = list_images(places / place)
    assert listed.names == SORTED
    assert list(listed.contents()) == [name.encode() for name in SORTED]
    assert list_images(places / place).key == listed.key
    assert list_images(places / place, ".txt").names == ("a/notes.txt",)


@pytest.mark.parametrize("place", PLACES)
def test_the_key_stays_when_the_place_is_moved(places, place):
    before = list_images(places / place).key
    assert list_images(shutil.move(places / place, places / "elsewhere")).key == before


def test_the_key_of_a_folder_changes_with_names_sizes_and_times(places):
    keys = {list_images(places / "set").key}
    (places / "set/b/2.png").rename(places / "set/b/3.png")
    keys.add(list_images(places / "set").key)
    (places / "set/b/3.png").write_bytes(b"something longer")
    keys.add(list_images(places / "set").key)
    os.utime(places / "set/a/1.PNG", (1, 1))
    keys.add(list_images(places / "set").key)
    assert len(keys) == 4


def test_the_key_of_an_archive_changes_with_a_single_byte(places):
    before = list_images(places / "set.tar").key
    with (places / "set.tar").open("r+b") as stream:
        stream.seek(600)
        stream.write(b"!")
    assert list_images(places / "set.tar").key != before


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 half of a zip", b"\x1f\x8b half of a tar"])
def test_files_that_are_no_archives_are_refused(tmp_path, content):
    place = tmp_path / "set.zip"
    place.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^.*set\.zip (should be a zip or tar archive, but )?cannot be read.*replace it\.$"
    ):
        _ = list_images(place).names


@pytest.mark.parametrize("place", ["set.zip", "set.tgz", "set.tar", "set.tar.xz"])
def test_a_truncated_archive_is_refused(places, place):
    whole = (places / place).read_bytes()
    (places / place).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(
        ValueError, match=rf"{place} (should be a zip or tar archive, but )?cannot be read.*replace it\."
    ):
        _ = list_images(places / place).names


def test_a_damaged_member_of_a_zip_is_named(places):
    content = bytearray((places / "set.zip").read_bytes())
    content[content.index(b"a/10.png" * 2) + len("a/10.png")] ^= 1  # the name occurs again before the content
    (places / "set.zip").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"set\.zip cannot be read \(Bad CRC-32 for file 'a/10\.png'\)\. It is damaged"
    ):
        list(list_images(places / "set.zip").contents())


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/tmp/out.png", "C:\\out.png", "..\\out.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_point_outside_are_refused(tmp_path, name, kind):
    place = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("a/1.png", b"1")
            archive.writestr(name, b"2")
    else:
        with tarfile.open(place, "w") as archive:
            for each in ("a/1.png", name):
                archive.addfile(tarfile.TarInfo(each), io.BytesIO())
    with pytest.raises(ValueError, match=r"has a member '.*out\.png' that points outside of the archive"):
        _ = list_images(place).names


def test_a_link_to_nowhere_in_a_folder_is_named(places):
    (places / "set/a/2.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"a/2\.png cannot be read: it is a link that leads nowhere\."):
        list(list_images(places / "set").contents())


def test_a_link_in_a_tar_is_refused(tmp_path):
    link = tarfile.TarInfo("a/1.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.addfile(link)
    with pytest.raises(ValueError, match=r"should hold a/1\.png as a plain file, but holds a link"):
        _ = list_images(tmp_path / "set.tar").names


@pytest.fixture
def images(tmp_path):
    """Write 150 images, more than two chunks, each with a different color."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(150):
        Image.new("RGB", (5, 4), (number, 255 - number, 7)).save(folder / f"{number:03}.png")
    return folder


def test_decoding_keeps_the_order_and_puts_channels_first(images):
    decoded = decode(list_images(images), lambda image: image)
    assert decoded.shape == (150, 3, 4, 5) and decoded.dtype == torch.uint8
    for number, image in enumerate(decoded):
        assert np.unique(image.flatten(1), axis=1).T.tolist() == [[number, 255 - number, 7]]
    grey = decode(list_images(images), lambda image: image.convert("L"))
    assert grey.shape == (150, 1, 4, 5)


def test_an_unreadable_image_in_the_middle_is_named(images):
    whole = (images / "077.png").read_bytes()
    (images / "077.png").write_bytes(whole[: len(whole) // 2])
    (images / "099.png").write_bytes(b"<html>")
    with pytest.raises(
        ValueError, match=rf"^{images} holds 077\.png, which cannot be read as an image \(.*\)\. Replace"
    ):
        decode(list_images(images), lambda image: image.convert("L"))
    found = unreadable(list_images(images), lambda image: image.convert("L"))
    assert [each.split(",")[0] for each in found] == [f"{images} holds 077.png", f"{images} holds 099.png"]
    assert "(its format is unknown)" in found[1] and "object at" not in found[1]
