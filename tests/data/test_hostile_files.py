"""Hostile and damaged files give one clear message, in bounded time and memory. No code in them runs or writes a file.

Each test describes a kind of file, not a known fault of the code: the files follow from what their formats allow.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import random
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from confined import confined
from hostile import END, ZipMember, pax, raw_zip, record, tar_header, tar_member, zeros
from PIL import Image
from processes import tree

from siamese_lab.data.io import archives
from siamese_lab.data.io.decode import pixels
from siamese_lab.data.io.idx_files import IdxFile, parse_idx
from siamese_lab.data.io.image_files import list_images, read_image_file
from siamese_lab.data.io.open_image import TooLittleMemoryError, convert_file, convert_opened
from siamese_lab.data.sets.lfw_pairs import read_pairs
from siamese_lab.data.sets.lfw_people import Person
from siamese_lab.data.sets.omniglot_runs import read_runs
from siamese_lab.data.tables.image_table import ImageTable, cached, check_stored
from siamese_lab.errors import ResourceError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits address space, and reads /proc and /dev")

BYTES = random.Random(0).randbytes(20_000)
"""Content that does not compress, so that the middle of an archive lies in the middle of this content."""
TAR = tar_member("a/1.png", BYTES) + tar_member("a/2.png", b"2") + END
TGZ = gzip.compress(TAR, mtime=0)
NAME = b"a/1.png"


def flipped(content, at, bit=1):
    changed = bytearray(content)
    changed[at] ^= bit
    return bytes(changed)


@pytest.fixture(autouse=True)
def outside(tmp_path):
    """Yield a folder, and check afterwards that no file in it has changed."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    before = tree(tmp_path / "outside")
    yield folder
    assert tree(folder) == before and (folder / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "ran").exists()


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def folder_instead(path):
    path.mkdir()


def link_to_itself(path):
    path.symlink_to(path)


def eight_gigabytes(path):
    path.touch()
    os.truncate(path, 8 << 30)


def refused(work, path, *facts):
    """Check that the work is refused with one message that names the file and says what to do."""
    outcome = confined(work)
    assert outcome.refused, outcome.message
    assert outcome.message.startswith(str(path)) and "eplace" in outcome.message, outcome.message
    assert outcome.message.isprintable() and len(outcome.message) < len(str(path)) + 400, outcome.message
    for fact in facts:
        assert fact in outcome.message


def write(path, content):
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)


ARCHIVES = {
    "zip: a member of 70 MB": raw_zip(ZipMember(NAME, zeros(70), 8, 70 << 20)),
    "zip: says 100 bytes, inflates to 700 MB": raw_zip(ZipMember(NAME, zeros(700), 8, 100)),
    "zip: says 9 MB, holds 100 bytes": raw_zip(ZipMember(NAME, bytes(100), size=9 << 20)),
    "zip: says 4 GB": raw_zip(ZipMember(NAME, b"1", size=(1 << 32) - 2)),
    "zip: members of 60 MB, 20 times": raw_zip(*(ZipMember(b"a/%d.png" % n, b"", 8, 60 << 20) for n in range(20))),
    "zip: wrong checksum": raw_zip(ZipMember(NAME, b"1", crc=7)),
    "zip: encrypted": raw_zip(ZipMember(NAME, bytes(50), flags=1)),
    "zip: 700 MB of bzip2": raw_zip(ZipMember(NAME, bz2.compress(bytes(900_000)) * 800, 12, 100)),
    "zip: lzma": raw_zip(ZipMember(NAME, bytes(50), 14)),
    "zip: unknown compression": raw_zip(ZipMember(NAME, b"1", 98)),
    "zip: broken deflate": raw_zip(ZipMember(NAME, b"\xff" * 50, 8, 100)),
    "zip: two names of one content": raw_zip(ZipMember(NAME, b"1"), ZipMember(b"a/2.png", b"2"), offsets={1: 0}),
    "zip: a member where there is none": raw_zip(ZipMember(NAME, b"1"), offsets={0: 1 << 30}),
    "zip: directory where there is none": raw_zip(ZipMember(NAME, b"1"), shift=1 << 30),
    "zip: cut": raw_zip(ZipMember(NAME, BYTES))[:-30],
    "zip: a name twice": raw_zip(ZipMember(NAME, b"1"), ZipMember(NAME, b"2")),
    "zip: a link": raw_zip(ZipMember(NAME, b"/etc/passwd", attributes=(stat.S_IFLNK | 0o777) << 16)),
    "zip: points outside": raw_zip(ZipMember(b"../../a/1.png", b"1")),
    "zip: lines and colors in a name": raw_zip(ZipMember(b"a/\x1b[2J\n1.png", b"1")),
    "tgz: cut by a byte": TGZ[:-1],
    "tgz: cut by its checksum": TGZ[:-8],
    "tgz: cut by nine bytes": TGZ[:-9],
    "tgz: a flipped bit in a file": flipped(TGZ, 9_000),
    "tgz: a flipped bit in the checksum": flipped(TGZ, -7),
    "tgz: a flipped bit in the length": flipped(TGZ, -2),
    "tgz: something after its end": TGZ + b"something",
    "tar.bz2: a flipped bit": flipped(bz2.compress(TAR), 9_000),
    "tar.xz: a flipped bit": flipped(lzma.compress(TAR), 9_000),
    "tar.xz: cut": lzma.compress(TAR)[:-1],
    "tar: a flipped bit in a header": flipped(TAR, TAR.index(b"a/2.png")),
    "tar: cut between two files": TAR[: TAR.index(b"a/2.png")],
    "tar: cut in a file": TAR[:5_000],
    "tar: a link": tar_header("a/1.png", 0, tarfile.SYMTYPE, "/etc/passwd") + END,
    "tar: a hard link": tar_header("a/1.png", 0, tarfile.LNKTYPE, "/etc/passwd") + END,
    "tar: a device": tar_header("a/1.png", 0, tarfile.CHRTYPE) + END,
    "tar: a pipe": tar_header("a/1.png", 0, tarfile.FIFOTYPE) + END,
    "tar: a sparse file": tar_header("a/1.png", 0, tarfile.GNUTYPE_SPARSE) + END,
    "tar: a file of negative size": tar_header("a/1.png", b"\xff" * 12) + END,
    "tar: a file of 2^70 bytes": tar_header("a/1.png", b"\x80" + b"\0" * 2 + b"\x40" + bytes(8)) + END,
    "tar: a file of no number": tar_header("a/1.png", b"size?       ") + END,
    "tgz: a name of 600 MB": gzip.compress(tar_header("x", 600 << 20, tarfile.GNUTYPE_LONGNAME))
    + gzip.compress(bytes(1 << 20)) * 600,
    "tgz: an extended header of 600 MB": gzip.compress(tar_header("x", 600 << 20, tarfile.XHDTYPE))
    + gzip.compress(b"9" * (1 << 20)) * 600,
    "tgz: ends in 128 MB of zeros": TGZ + gzip.compress(bytes(1 << 24)) * 8,
    "tar: extended size, negative": pax(record("size", "-512")) + END,
    "tar: extended size, a petabyte": pax(record("size", str(10**15))) + END,
    "tar: extended sparse map of letters": pax(record("GNU.sparse.map", "a,b")) + END,
    "tar: extended record of length 0": pax(b"0 path=x\n") + END,
    "tar: extended name outside": pax(record("path", "/etc/1.png")) + END,
    "tar: a name that is not UTF-8": tar_member("a/\udcff.png", b"1") + END,
    "tar: a name twice": tar_member("a/1.png", b"1") * 2 + END,
    "a pipe": pipe,
    "an endless device": endless,
    "a link to itself": link_to_itself,
    "8 GB of nothing": eight_gigabytes,
    "nothing": b"",
}


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_archives(tmp_path, monkeypatch, content):
    monkeypatch.setattr(archives, "LARGEST_CONTENT", 100 << 20)
    path = tmp_path / "images.zip"
    write(path, content)
    refused(lambda: list(list_images(path).contents()), path)
    assert {each.name for each in tmp_path.iterdir()} == {"images.zip", "outside"}


@pytest.mark.parametrize("content", [pipe, endless, eight_gigabytes])
def test_endless_files_are_refused_before_hashing(tmp_path, content):
    path = tmp_path / "images.zip"
    write(path, content)
    refused(lambda: list_images(path).key, path)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_of_too_many_members(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1_000)
    path = tmp_path / "images.zip"
    if kind == "zip":
        path.write_bytes(raw_zip(*(ZipMember(b"d/%d.txt" % number, b"") for number in range(1_001))))
    else:
        path.write_bytes(gzip.compress(b"".join(tar_header(f"d/{number}.txt") for number in range(1_001)) + END))
    refused(lambda: list_images(path).names, path, "more than 1,000 members")


def test_archives_without_faults_are_read(tmp_path):
    """The builders write valid archives if no fault is requested."""
    for number, content in enumerate(
        (raw_zip(ZipMember(NAME, BYTES), ZipMember(b"a/2.png", b"2")), TAR, TGZ, bz2.compress(TAR), lzma.compress(TAR))
    ):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        assert list(list_images(path).contents()) == [BYTES, b"2"]


def test_every_single_flipped_bit_is_found_or_harmless(tmp_path):
    """Every single bit of a compressed archive is flipped: either the reader raises, or no file changes."""
    content = b"".join(tar_member(f"a/{number}.png", BYTES[:200]) for number in range(2)) + END
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            archive.writestr(f"a/{number}.png", BYTES[:200])
    for original in (gzip.compress(content, mtime=0), packed.getvalue(), lzma.compress(content), bz2.compress(content)):
        for bit in random.Random(1).sample(range(len(original) * 8), 100):
            (tmp_path / "images").write_bytes(flipped(original, bit // 8, 1 << bit % 8))
            files = list_images(tmp_path / "images")
            try:
                names, contents = files.names, list(files.contents())
            except ValueError as error:
                assert str(tmp_path / "images") in str(error)
            else:
                assert contents == [BYTES[:200]] * len(names)


IDX = bytes([0, 0, 8, 1, 0, 0, 0, 200]) + BYTES[:200]
PACKED = gzip.compress(IDX, mtime=0)
FILE = IdxFile("labels", "", hashlib.md5(IDX).hexdigest(), len(PACKED), len(IDX))
IDX_FILES = {
    "600 MB of zeros": gzip.compress(bytes(1 << 20)) * 600,
    "a flipped bit": flipped(PACKED, 100),
    "a flipped bit in the checksum": flipped(PACKED, -7),
    "cut by a byte": PACKED[:-1],
    "something after its end": PACKED + b"something",
    "a second content": PACKED + PACKED,
    "another size": gzip.compress(IDX[:7] + bytes([199]) + IDX[8:]),
    "2^96 values": gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12),
    "objects": gzip.compress(bytes([0, 0, 0x4F, 1]) + pickle.dumps(print)),
    "a web page": b"<html>",
    "nothing": b"",
    "a pipe": pipe,
    "an endless device": endless,
    "a folder": folder_instead,
}


@pytest.mark.parametrize("content", IDX_FILES.values(), ids=IDX_FILES)
def test_idx_files(tmp_path, content):
    path = tmp_path / "labels.gz"
    write(path, content)
    refused(lambda: parse_idx(path, FILE), path)


@pytest.mark.parametrize("content", [eight_gigabytes, endless, pipe, IDX + b"1"])
def test_idx_files_that_are_not_compressed(tmp_path, content):
    path = tmp_path / "labels"
    write(path, content)
    refused(lambda: parse_idx(path, FILE), path)


PEOPLE = (Person("Al_A", 3, "train", 0), Person("Bo", 1, "test", 0), Person("Cy", 2, "train", 0))
PAIRS = {
    "not UTF-8": b"1\nAl_A\t1\t\xff\nBo\t1\tCy\t1\n",
    "nothing": b"",
    "a line without an end": b"1" * 5_000_000,
    "0 pairs": b"0\n",
    "0 folds": b"0\t300\n",
    "-1 pairs": b"-1\n-1\n",
    "10^18 pairs": b"1000000000000000000\n",
    "an image with itself": b"1\nAl_A\t1\t1\nBo\t1\tCy\t1\n",
    "one person as two": b"1\nAl_A\t1\t2\nAl_A\t1\tAl_A\t3\n",
    "a pair twice": b"1\nAl_A\t1\t2\nAl_A\t2\tAl_A\t1\n",
    "a pair twice, in the other order": b"2\nAl_A\t1\t2\nAl_A\t2\t1\nAl_A\t1\tCy\t1\nBo\t1\tCy\t1\n",
    "image 0": b"1\nAl_A\t0\t1\nBo\t1\tCy\t1\n",
    "image -1": b"1\nAl_A\t1\t-1\nBo\t1\tCy\t1\n",
    "an image of 5,000 digits": b"1\nAl_A\t1\t" + b"1" * 5_000 + b"\nBo\t1\tCy\t1\n",
    "digits of another script": "1\nAl_A\t1\t٢\nBo\t1\tCy\t1\n".encode(),
    "lines and colors in a name": b"1\nAl_A\t1\t2\nBo\x1b[2J\t1\tCy\t1\n",
    "a path as a name": b"1\nAl_A\t1\t2\n../../Bo\t1\tCy\t1\n",
    "8 GB of nothing": eight_gigabytes,
    "a pipe": pipe,
    "an endless device": endless,
    "a folder": folder_instead,
}


@pytest.mark.parametrize("content", PAIRS.values(), ids=PAIRS)
def test_lists_of_pairs(tmp_path, content):
    path = tmp_path / "pairs.txt"
    write(path, content)
    refused(lambda: read_pairs(path, PEOPLE), path)


def runs_of_drawings():
    """Return the names of Lake's drawings and the answers, without images: the answers are read first."""
    drawings, answers = [], {}
    for run in (f"run{number:02}" for number in range(1, 21)):
        pairs = [(f"{run}/test/item{n:02}.png", f"{run}/training/class{n:02}.png") for n in range(1, 21)]
        drawings += [name for pair in pairs for name in pair]
        answers[f"{run}/class_labels.txt"] = "".join(f"{asked} {known}\n" for asked, known in pairs)
    return drawings, answers


def exchange_two_runs(drawings, answers):
    """Swap the answers of two runs, so that each points to the other run. Every drawing still has one answer."""
    for here, there in (("run01", "run02"), ("run02", "run01")):
        name = f"{here}/class_labels.txt"
        answers[name] = answers[name].replace(f" {here}", f" {there}")


def answer_twice(drawings, answers):
    answers["run01/class_labels.txt"] += "run01/test/item01.png run01/training/class02.png\n"


def answer_outside(drawings, answers):
    answers["run01/class_labels.txt"] = answers["run01/class_labels.txt"].replace("run01/test", "../../etc/passwd")


def answer_with_70_megabytes(drawings, answers):
    answers["run01/class_labels.txt"] = " " * (70 << 20)


def draw_twice(drawings, answers):
    drawings.append("copy/run01/test/item01.png")


def draw_in_another_run(drawings, answers):
    drawings[:] = [name.replace("run20", "run21") for name in drawings]
    answers["run21/class_labels.txt"] = answers.pop("run20/class_labels.txt").replace("run20", "run21")


def draw_unevenly(drawings, answers):
    """Move a drawing and its answer to another run. The total counts stay the same."""
    drawings[:] = [name.replace("run01/test/item01", "run02/test/item99") for name in drawings]
    drawings[:] = [name.replace("run01/training/class01", "run02/training/class99") for name in drawings]
    answers["run01/class_labels.txt"] = answers["run01/class_labels.txt"].partition("\n")[2]
    answers["run02/class_labels.txt"] += "run02/test/item99.png run02/training/class99.png\n"


@pytest.mark.parametrize(
    "change",
    [
        exchange_two_runs,
        answer_twice,
        answer_outside,
        answer_with_70_megabytes,
        draw_twice,
        draw_in_another_run,
        draw_unevenly,
    ],
)
def test_answers_of_one_shot_runs(tmp_path, change):
    drawings, answers = runs_of_drawings()
    change(drawings, answers)
    path = tmp_path / "all_runs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in drawings:
            archive.writestr(name, b"")
        for name, content in answers.items():
            archive.writestr(name, content)
    refused(lambda: read_runs(path, lambda image: image), path)


def a_table():
    images_NCHW = torch.arange(48, dtype=torch.uint8).reshape(6, 2, 2, 2)
    return ImageTable(images_NCHW, torch.arange(6) % 3, ("a", "b", "c"))


class Payload:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def seal(place, **changes):
    """Write a manifest that agrees with the files, as an attacker could who knows its format."""
    entries = json.loads((place / "table.json").read_text(encoding="utf-8"))
    del entries["checksum"]
    for name in ("images.npy", "labels.npy"):
        content = (place / name).read_bytes()
        entries["bytes"][name], entries["sha256"][name] = len(content), hashlib.sha256(content).hexdigest()
    entries |= changes
    entries["checksum"] = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    (place / "table.json").write_text(json.dumps(entries), encoding="utf-8")


def reheader(place, old, new):
    file = place / "images.npy"
    changed = file.read_bytes().replace(old, new, 1)
    assert changed != file.read_bytes()
    file.write_bytes(changed)


def replace_by(name, content):
    def change(place):
        (place / name).unlink()
        write(place / name, content)

    return change


def pickled(name):
    def change(place):
        np.save(place / name, np.array([Payload(place.parents[1] / "ran")] * 6, dtype=object), allow_pickle=True)
        seal(place)

    return change


def npz(place):
    with (place / "labels.npy").open("wb") as file:
        np.savez(file, labels=np.arange(6))
    seal(place)


def save(name, array):
    def change(place):
        np.save(place / name, array)
        seal(place)

    return change


def header_of(text):
    """Replace the header of the images with another header of the same length."""

    def change(place):
        file = place / "images.npy"
        content = file.read_bytes()
        file.write_bytes(content[:10] + text.encode().ljust(117) + b"\n" + content[128:])
        seal(place)

    return change


IMAGES = np.arange(48, dtype=np.uint8).reshape(6, 2, 2, 2)
CACHES = {
    "class names null": lambda place: seal(place, class_names=None),
    "class names one string": lambda place: seal(place, class_names="abc"),
    "class names numbers": lambda place: seal(place, class_names=[1, 2, 3]),
    "class names lists": lambda place: seal(place, class_names=[["a"], ["b"], ["c"]]),
    "class names too few": lambda place: seal(place, class_names=["a"]),
    "class names another, not sealed": lambda place: (place / "table.json").write_text(
        (place / "table.json").read_text(encoding="utf-8").replace('"a"', '"z"'), encoding="utf-8"
    ),
    "column order": lambda place: reheader(place, b"False", b"True "),
    "column order, sealed": lambda place: (reheader(place, b"False", b"True "), seal(place)),
    "another shape of the same size": lambda place: reheader(place, b"(6, 2, 2, 2)", b"(6, 2, 1, 4)"),
    "signed pixels": lambda place: reheader(place, b"|u1", b"|i1"),
    "fewer pixels than bytes": save("images.npy", IMAGES[:, :, :1]),
    "shape null": lambda place: seal(place, shape_NCHW=None),
    "shape true": lambda place: seal(place, shape_NCHW=[True, 2, 2, 2]),
    "shape negative": lambda place: seal(place, shape_NCHW=[-6, -2, 2, 2]),
    "shape 2^80": lambda place: seal(place, shape_NCHW=[1 << 20] * 4),
    "shape not a number": lambda place: seal(place, shape_NCHW=[float("nan")] * 4),
    "pickled images": pickled("images.npy"),
    "pickled labels": pickled("labels.npy"),
    "labels an npz": npz,
    "labels fractions": save("labels.npy", np.arange(6) / 2),
    "labels out of range": save("labels.npy", np.arange(6)),
    "labels negative": save("labels.npy", np.full(6, -1)),
    "labels of two dimensions": save("labels.npy", np.zeros((6, 1), dtype=np.int64)),
    "labels too few": save("labels.npy", np.zeros(5, dtype=np.int64)),
    "header a program": header_of("__import__('pathlib').Path('ran').touch()"),
    "header nested": header_of("(" * 100),
    "header not closed": header_of("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 2, 2,"),
    "header of 2^60 pixels": header_of("{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }"),
    "header negative": header_of("{'descr': '|u1', 'fortran_order': False, 'shape': (-6, -2, 2, 2), }"),
    "header of objects": header_of("{'descr': '|O', 'fortran_order': False, 'shape': (6,), }"),
    "manifest nested": replace_by("table.json", b"[" * 1_000_000),
    "manifest of 8 GB": replace_by("table.json", eight_gigabytes),
    "manifest a pipe": replace_by("table.json", pipe),
    "manifest endless": replace_by("table.json", endless),
    "manifest a folder": replace_by("table.json", folder_instead),
    "manifest a list": replace_by("table.json", b"[]"),
    "manifest null": replace_by("table.json", b"null"),
    "manifest of long numbers": replace_by("table.json", b"9" * 100_000),
    "images a pipe": replace_by("images.npy", pipe),
    "images endless": replace_by("images.npy", endless),
    "labels a pipe": replace_by("labels.npy", pipe),
    "files outside": lambda place: seal(
        place, bytes={"../../outside/precious": 8}, sha256={"../../outside/precious": "0"}
    ),
    "sizes true": lambda place: seal(place, bytes={"images.npy": True, "labels.npy": True}),
    "sizes null": lambda place: seal(place, bytes=None),
    "unknown entries": lambda place: seal(place, _target_="os.system"),
    "a link to a folder outside": lambda place: (
        shutil.rmtree(place),
        place.symlink_to(place.parents[1] / "outside"),
    ),
    "a draft that links outside": lambda place: (
        shutil.rmtree(place),
        place.with_name("key.draft").symlink_to(place.parents[1] / "outside"),
    ),
    "a lock that links outside": lambda place: (
        shutil.rmtree(place),
        (place.parent / ".locks/key.lock").unlink(),
        (place.parent / ".locks/key.lock").symlink_to(place.parents[1] / "outside/precious"),
    ),
}


@pytest.mark.parametrize("change", CACHES.values(), ids=CACHES)
def test_caches(tmp_path, monkeypatch, change):
    """A table that differs from the written one is decoded again, even if another file replaces it."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "cache/key"
    cached(place.parent, "key", a_table)
    change(place)

    def load():
        missing = not os.path.lexists(place)
        assert missing or check_stored(place), "check_stored should find the fault, too"
        table = cached(place.parent, "key", a_table)
        return table.images_NCHW.tolist(), table.labels_N.tolist(), table.class_names, check_stored(place)

    outcome = confined(load)
    assert outcome == (False, repr((IMAGES.tolist(), [0, 1, 2, 0, 1, 2], ("a", "b", "c"), [])))
    assert sorted(each.name for each in place.parent.iterdir()) == [".locks", "key"]


def test_an_unchanged_table_is_not_decoded_again(tmp_path):
    """A manifest that is sealed again without changes is accepted: the other tests detect the changes themselves."""
    place = tmp_path / "cache/key"
    cached(place.parent, "key", a_table)
    seal(place)
    table = cached(place.parent, "key", lambda: pytest.fail("decoded again"))
    assert table.images_NCHW.tolist() == IMAGES.tolist()
    assert zlib.crc32(table.images_NCHW.numpy().tobytes()) == zlib.crc32(IMAGES.tobytes())


def sparse(path):
    path.touch()
    os.truncate(path, 950_000_000)


def padded(path):
    Image.new("RGB", (3000, 3000)).save(path, "BMP")
    os.truncate(path, 900_000_000)


@pytest.mark.parametrize(
    ("make", "fact"),
    [(sparse, "its format is unknown"), (padded, "900 MB, but 3,000×3,000 pixels need")],
)
def test_image_files_that_are_larger_than_their_pixels_need(tmp_path, make, fact):
    place = tmp_path / "a.png"
    make(place)
    refused(lambda: read_image_file(place), place, fact)


@pytest.mark.parametrize("convert", [convert_file, lambda stream, convert: convert_opened(Image.open(stream), convert)])
def test_memory_that_does_not_suffice_is_named(convert):
    def without_memory(image):
        raise MemoryError

    stream = io.BytesIO()
    Image.new("L", (2, 2)).save(stream, "PNG")
    with pytest.raises(TooLittleMemoryError, match="memory does not suffice"):
        convert(stream, without_memory)
    with pytest.raises(ResourceError, match=r"x.png.*memory does not suffice.*Free some memory") as error:
        pixels(Path("images"), "x.png", stream.getvalue(), without_memory)
    assert "Replace" not in str(error.value)
